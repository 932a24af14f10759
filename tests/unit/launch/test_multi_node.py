"""launch/multi_node.sh: which hostfiles it takes, what it starts, and what reaches the other machines."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.unit.launch.running import ROOT, WORKS, launch, path_with, stand_in, started


def test_a_good_hostfile_gives_the_deepspeed_command(hostfile: Path, config: Path) -> None:
    result = launch("multi_node.sh", "--dry-run", str(hostfile), str(config), "train.max_steps=5")
    assert result.returncode == 0, result.stderr
    assert "2 machines, 12 ranks" in result.stdout
    assert f"deepspeed --hostfile {hostfile} " in result.stdout
    assert f"--module online_rl.train --config {config} train.max_steps=5" in result.stdout


def test_the_supervised_stage_is_named_before_the_hostfile(hostfile: Path, config: Path) -> None:
    result = launch("multi_node.sh", "--dry-run", "sft", str(hostfile), str(config))
    assert f"--module online_rl.sft --config {config}\n" in result.stdout


def test_a_missing_hostfile_is_refused_not_run_locally(tmp_path: Path, config: Path) -> None:
    result = launch("multi_node.sh", "--dry-run", str(tmp_path / "nowhere"), str(config))
    assert result.returncode == 2
    assert "no hostfile" in result.stderr and str(tmp_path / "nowhere") in result.stderr


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("worker-1 slots=8\nworker-2 slots=8\nworker-1 slots=4\n", 3, "'worker-1' is already on line 1"),
        ("worker-1 slots=8\nworker-2\n", 2, "worker-1 slots=8"),
        ("worker-1 slots=8 gpus=4\n", 1, "worker-1 slots=8"),
        ("worker-1 slots=\n", 1, "worker-1 slots=8"),
        ("worker 1 slots=8\n", 1, "worker-1 slots=8"),
        ("$(hostname) slots=8\n", 1, "worker-1 slots=8"),
        ("worker-1 slots=0\n", 1, "slots is '0'; expected a whole number of at least 1"),
        ("worker-1 slots=-2\n", 1, "slots is '-2'"),
        ("worker-1 slots=four", 1, "slots is 'four'"),
    ],
)
def test_a_bad_host_line_is_refused_by_its_number(
    text: str, line: int, words: str, hostfile: Path, config: Path
) -> None:
    hostfile.write_text(text)
    result = launch("multi_node.sh", "--dry-run", str(hostfile), str(config))
    assert result.returncode == 2
    assert f"line {line}:" in result.stderr and words in result.stderr
    assert "deepspeed --hostfile" not in result.stdout


@pytest.mark.parametrize("text", ["", "\n\n", "# worker-1 slots=8\n"])
def test_a_hostfile_without_machines_is_refused(text: str, hostfile: Path, config: Path) -> None:
    hostfile.write_text(text)
    result = launch("multi_node.sh", "--dry-run", str(hostfile), str(config))
    assert result.returncode == 2
    assert "names no machine" in result.stderr


def test_a_config_of_the_repository_is_found_from_another_folder(hostfile: Path, tmp_path: Path) -> None:
    result = launch("multi_node.sh", "--dry-run", hostfile.name, "configs/demo_grpo.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"--hostfile {hostfile} " in result.stdout
    assert result.stdout.endswith(f"--config {ROOT}/configs/demo_grpo.yaml\n")


# ---- with stand-ins for ssh and pdsh, which do here what they would do on other machines


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A folder with an `ssh`, and a `pdsh` that runs what comes before the launcher and shows the environment then."""
    folder = tmp_path / "bin"
    folder.mkdir()
    stand_in(folder / "ssh", "echo 127.0.0.1")
    remote = 'while [[ "$1" == -* ]]; do [[ "$1" == -S ]] || shift; shift; done; command="$*"'
    stand_in(folder / "pdsh", f'{remote}; exec env -i PATH="$PATH" bash -c "${{command%%cd /*}} env"')
    return folder


@pytest.mark.timeout(120)
def test_the_environment_reaches_the_other_machines(cluster: Path, hostfile: Path, config: Path) -> None:
    """Through the real deepspeed launcher, in words that a shell understands."""
    own = {"PATH": path_with(cluster), "VLLM_USE_V1": "1", "HF_HOME": "/somewhere else", "HOME": str(hostfile.parent)}
    own |= {"GLOO_SOCKET_IFNAME": "eth1", "VLLM_HOST_IP": "10.0.0.1"}
    (hostfile.parent / ".deepspeed_env").write_text("NCCL_DEBUG=WARN\nVLLM_USE_V1=0\n")
    result = launch("multi_node.sh", str(hostfile), str(config), **own, OMP_NUM_THREADS="")
    assert result.returncode == 0, result.stderr
    there = dict(line.split("=", 1) for line in result.stdout.splitlines() if re.match(r"\w+=", line))
    cores = len(os.sched_getaffinity(0))
    assert there["OMP_NUM_THREADS"] == str(max(1, cores // 8))  # ranks of the larger machine
    assert there["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0" and there["HF_HOME"] == "/somewhere else"
    assert there["GLOO_SOCKET_IFNAME"] == "eth1"
    assert "VLLM_HOST_IP" not in there, "an address is one machine's"
    assert there["PYTHONWARNINGS"] == "ignore:`torch.distributed:FutureWarning"
    assert there["NCCL_DEBUG"] == "WARN" and there["VLLM_USE_V1"] == "0"  # the user's own file wins
    assert str(ROOT) in there["PYTHONPATH"].split(":") and there["DS_ACCELERATOR"] == "cpu"


def test_threads_that_the_user_set_stay(cluster: Path, hostfile: Path, config: Path) -> None:
    stand_in(cluster / "deepspeed", 'cat "$DS_ENV_FILE"')
    result = launch("multi_node.sh", str(hostfile), str(config), PATH=path_with(cluster), OMP_NUM_THREADS="3")
    assert "OMP_NUM_THREADS=3\n" in result.stdout


@pytest.fixture
def training(cluster: Path) -> Path:
    """A launcher that must not be hit, with two ranks of a run on port $4 and one of another run beside them."""
    stand_in(cluster / "pdsh", 'while [[ "$1" == -* ]]; do [[ "$1" == -S ]] || shift; shift; done; exec bash -c "$*"')
    told = "trap 'echo rank of $MASTER_PORT told; [[ $STAY ]] || exit 75' TERM"
    stand_in(cluster / "rank", f"{told}; {WORKS}")
    launcher = """
        trap 'echo launcher hit; kill -KILL $first $second $other; exit 1' TERM
        MASTER_PORT="$4" rank online_rl.train --local_rank=0 & first=$!
        MASTER_PORT="$4" rank online_rl.train --local_rank=1 & second=$!
        MASTER_PORT="1$4" rank online_rl.train --local_rank=0 & other=$!
        wait $first; code=$?
        wait $second
        kill -KILL $other
        exit $code
    """
    stand_in(cluster / "deepspeed", launcher)
    return cluster


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("number", "stay", "code"),
    [(signal.SIGTERM, "", 75), (signal.SIGHUP, "", 75), (signal.SIGINT, "", 75), (signal.SIGTERM, "yes", 130)],
)
def test_a_signal_reaches_the_ranks_of_this_run_and_a_second_one_the_launcher(
    number: int, stay: str, code: int, training: Path, hostfile: Path, config: Path
) -> None:
    port = str(90000 + os.getpid() % 10000)  # none that a real run on this machine could have
    own = {"PATH": path_with(training), "ONLINE_RL_PLATFORM": "cpu", "MASTER_PORT": port, "STAY": stay}
    command = ["bash", str(ROOT / "launch/multi_node.sh"), str(hostfile), str(config)]
    seen: list[str] = []
    with started(command, {**os.environ, **own}) as process:
        for line in process.stdout:
            seen.append(line.strip())
            first = line == "ready\n" and seen.count("ready") == 3
            second = stay and seen.count(f"rank of {port} told") == 2 and "launcher hit" not in seen
            if first or second:
                process.send_signal(number)
        assert process.wait(timeout=30) == code
    assert seen.count(f"rank of {port} told") == 2 and f"rank of 1{port} told" not in seen
    assert ("launcher hit" in seen) is bool(stay)


@pytest.mark.timeout(60)
def test_a_rank_that_starts_after_the_signal_is_told_too_and_nobody_twice(
    training: Path, hostfile: Path, config: Path
) -> None:
    """The first seconds of a launch, before every machine has started its ranks."""
    launcher = """
        trap 'kill -KILL $first $second; exit 1' TERM
        MASTER_PORT="$4" rank online_rl.train --local_rank=0 & first=$!
        sleep 7 & wait $!
        MASTER_PORT="$4" rank online_rl.train --local_rank=1 & second=$!
        wait $first $second
    """
    stand_in(training / "deepspeed", launcher)
    port = str(90000 + os.getpid() % 10000)
    # A rank that is told says so and stays: told twice, it would say it twice.
    own = {"PATH": path_with(training), "ONLINE_RL_PLATFORM": "cpu", "MASTER_PORT": port, "STAY": "yes"}
    command = ["bash", str(ROOT / "launch/multi_node.sh"), str(hostfile), str(config)]
    with started(command, {**os.environ, **own}) as process:
        told, deadline = 0, time.monotonic() + 40
        for line in process.stdout:
            told += line.strip() == f"rank of {port} told"
            if line == "ready\n" and not told:
                process.terminate()
            if told == 2:
                break
        assert told == 2 and time.monotonic() < deadline
        time.sleep(6)  # another round
        process.send_signal(signal.SIGTERM)  # to the launcher, which takes the ranks along
        rest = process.stdout.read()
    assert f"rank of {port} told" not in rest


@pytest.mark.skipif(shutil.which("pdsh") is not None, reason="pdsh is installed here")
def test_without_pdsh_it_says_what_else_there_is(cluster: Path, hostfile: Path, config: Path) -> None:
    (cluster / "pdsh").unlink()
    stand_in(cluster / "deepspeed", "echo called")
    result = launch("multi_node.sh", str(hostfile), str(config), PATH=path_with(cluster))
    assert result.returncode == 2 and "called" not in result.stdout
    assert "apt install pdsh" in result.stderr and "slurm.sbatch" in result.stderr
