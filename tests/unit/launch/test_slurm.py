"""launch/slurm.sbatch, with stand-ins for Slurm's commands."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.unit.launch.running import ROOT, WORKS, launch, path_with, stand_in, started


def slurm_environment(folder: Path, **env: str) -> dict[str, str]:
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node-[1-2]", "SLURM_GPUS_ON_NODE": "4"}
    job |= {"SLURM_CPUS_PER_TASK": "32", "JOB_SCRIPT": str(ROOT / "launch/slurm.sbatch"), "OMP_NUM_THREADS": ""}
    return {**os.environ, "PATH": path_with(folder), "ONLINE_RL_PLATFORM": "cpu", **job, **env}


def job(folder: Path) -> str:
    """A job's number that no other test has, in this process or in one beside it: ranks are found by it."""
    return f"job-{os.getpid()}-{folder.parent.name}"


def batch(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """As sbatch does: a copy of the script from another folder."""
    copy = folder / "slurm_script"
    shutil.copy(ROOT / "launch/slurm.sbatch", copy)
    return subprocess.run(
        ["bash", str(copy), *arguments],
        cwd=folder.parent,
        env=slurm_environment(folder, **env),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_slurm_job_starts_one_launcher_per_node(slurm: Path, config: Path) -> None:
    stand_in(slurm / "deepspeed", 'echo "threads $OMP_NUM_THREADS"; cat "$2"')
    result = batch(slurm, "config.yaml", "train.max_steps=5")
    assert result.returncode == 0, result.stderr
    assert "2 nodes, 8 ranks" in result.stdout
    assert "node-1 slots=4\nnode-2 slots=4\n" in result.stdout and "threads 8\n" in result.stdout
    for node in (0, 1):
        where = f"--no_ssh --node_rank {node} --master_addr node-1 --master_port 29500"
        what = f"--module online_rl.train --config {config} resume=auto train.max_steps=5"
        assert re.search(
            rf"^\$ deepspeed --hostfile \S+ {where} --log_level error {re.escape(what)}$", result.stdout, re.M
        )
    assert "requeued" not in result.stdout
    assert not list(slurm.parent.glob("hostfile-*"))


def test_the_tasks_of_an_array_differ_by_their_number(slurm: Path, config: Path) -> None:
    stand_in(slurm / "deepspeed", "true")
    result = batch(slurm, "config.yaml", "run.seed=%a", "run.dir=runs/seed-%a", SLURM_ARRAY_TASK_ID="12")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("--master_port 29512 ") == 2, "two tasks may share their first node"
    assert result.stdout.count("run.seed=12 run.dir=runs/seed-12") == 3, "srun's line and one launcher per node"
    alone = batch(slurm, "config.yaml", "run.dir=runs/100%a")
    assert "runs/100%a" in alone.stdout, "outside of an array %a is what it says"


def test_a_job_of_the_supervised_stage(slurm: Path, config: Path) -> None:
    result = batch(slurm, "sft", "config.yaml")
    assert f"--module online_rl.sft --config {config} resume=auto\n" in result.stdout, result.stderr


def signalled(folder: Path, config: Path, signal_name: str, **env: str) -> list[str]:
    """What a job of two nodes says that gets a signal while it trains, and ends with 75."""
    rank = f"trap 'echo rank saves; sleep 0.3; exit 75' TERM; {WORKS}"
    stand_in(folder / "rank", rank)
    launcher = "trap 'echo launcher hit' TERM\nrank online_rl.train --local_rank=0 & wait $!\nexit $?"
    stand_in(folder / "deepspeed", launcher)
    command = ["bash", str(ROOT / "launch/slurm.sbatch"), str(config)]
    environment = slurm_environment(folder, SLURM_JOB_ID=job(folder), **env)
    seen: list[str] = []
    with started(command, environment, cwd=folder.parent, stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            seen.append(line.strip())
            if seen.count("ready") == 2 and line.strip() == "ready":
                process.send_signal(getattr(signal, f"SIG{signal_name}"))
        assert process.wait(timeout=30) == 75
    return seen


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("signal_name", "requeued"), [("USR1", True), ("TERM", False)])
def test_a_slurm_job_saves_and_requeues_before_its_time_is_over(
    signal_name: str, requeued: bool, slurm: Path, config: Path
) -> None:
    """Every rank of the job gets SIGTERM, its launchers get none; scancel's SIGTERM ends it for good."""
    seen = signalled(slurm, config, signal_name)
    assert seen.count("rank saves") == 2 and "launcher hit" not in seen
    assert (f"requeued {job(slurm)}" in seen) is requeued


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("restarts", "requeued"), [("1", True), ("2", False)])
def test_a_slurm_job_requeues_itself_at_most_max_requeues_times(
    restarts: str, requeued: bool, slurm: Path, config: Path
) -> None:
    seen = signalled(slurm, config, "USR1", SLURM_RESTART_COUNT=restarts, MAX_REQUEUES="2")
    assert seen.count("rank saves") == 2
    assert (f"requeued {job(slurm)}" in seen) is requeued
    assert ("saved; this was start 3, and MAX_REQUEUES is 2." in seen) is not requeued


@pytest.mark.timeout(60)
def test_a_slurm_job_that_may_not_be_requeued_says_so_at_its_first_start(slurm: Path, config: Path) -> None:
    """Slurm sets SLURM_RESTART_COUNT only when it has started a job again."""
    seen = signalled(slurm, config, "USR1", MAX_REQUEUES="0")
    assert "saved; this was start 1, and MAX_REQUEUES is 0." in seen and f"requeued {job(slurm)}" not in seen


def test_a_checkout_whose_path_holds_blanks(slurm: Path, config: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "launch", tmp_path / "my work" / "launch")
    script = tmp_path / "my work" / "launch" / "slurm.sbatch"
    result = batch(slurm, "config.yaml", JOB_SCRIPT=str(script))
    assert result.returncode == 0, result.stderr
    assert f"bash {str(script).replace(' ', chr(92) + ' ')} --on-node" in result.stdout


def test_a_config_of_the_repository_is_found_from_another_folder(slurm: Path) -> None:
    result = batch(slurm, "configs/demo_grpo.yaml")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(f"--config {ROOT}/configs/demo_grpo.yaml resume=auto\n") == 2 + 2  # printed and called


@pytest.mark.parametrize("code", ["1", "2", "75"])
def test_a_slurm_job_that_was_not_asked_to_stop_is_not_requeued(code: str, slurm: Path, config: Path) -> None:
    result = batch(slurm, "config.yaml", FAKE_CODE=code)
    assert result.returncode == int(code)
    assert "requeued" not in result.stdout


def test_slurm_script_outside_a_job_says_how_to_submit_it(config: Path) -> None:
    result = launch("slurm.sbatch", str(config), SLURM_JOB_ID="")
    assert result.returncode == 2
    assert "sbatch launch/slurm.sbatch" in result.stderr and "single_node.sh" in result.stderr
