"""The scripts in launch/: what they accept, what they refuse and with which words. None of them trains here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path.name for path in (ROOT / "launch").glob("*.sh") if path.name != "env.sh") + ["slurm.sbatch"]


def launch(script: str, *arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "launch" / script), *arguments]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ONLINE_RL_PLATFORM": "cpu", **env}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("{}\n")
    return path


@pytest.fixture
def hostfile(tmp_path: Path) -> Path:
    path = tmp_path / "hostfile"
    path.write_text("# two machines\nworker-1 slots=8\n\nworker-2 slots=4  # the smaller one\n")
    return path


def test_shellcheck_has_nothing_to_say() -> None:
    scripts = [
        str(path) for path in (*(ROOT / "launch").glob("*.s*"), *(ROOT / "tests").rglob("*.sh"), ROOT / ".ci/run")
    ]
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert shellcheck, "shellcheck is missing: bash launch/setup.sh --test"
    result = subprocess.run([shellcheck, "-x", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_explains_the_script(script: str, tmp_path: Path) -> None:
    result = launch(script, "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"bash launch/{script}" in result.stdout
    assert "set -e" not in result.stdout


# ---- multi_node.sh


def test_a_good_hostfile_gives_the_deepspeed_command(hostfile: Path, config: Path) -> None:
    result = launch("multi_node.sh", "--dry-run", str(hostfile), str(config), "train.max_steps=5")
    assert result.returncode == 0, result.stderr
    assert "2 machines, 12 ranks" in result.stdout
    assert f"deepspeed --hostfile {hostfile} " in result.stdout
    assert f"--module online_rl.train --config {config} train.max_steps=5" in result.stdout


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


# ---- single_node.sh, with a stand-in for the deepspeed launcher


@pytest.fixture
def fake_launcher(tmp_path: Path) -> Path:
    """A folder with a `deepspeed` that writes down how it was called and ends with $FAKE_CODE."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "deepspeed"
    script.write_text(
        '#!/bin/sh\necho "called: $*"\nenv | grep -E "^(OMP|VLLM|DS_|TOK|DO_NOT)"\nexit "${FAKE_CODE:-0}"\n'
    )
    script.chmod(0o755)
    return folder


def single_node(fake: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    venv = Path(sys.executable).parent
    # The repository's own environment would come first on PATH, unless it is there already.
    path = os.pathsep.join([str(fake), str(ROOT / ".venv/bin"), str(venv), os.environ["PATH"]])
    return launch("single_node.sh", *arguments, cwd=fake.parent, **{"PATH": path, **env})


def test_single_node_runs_the_trainer_in_its_environment(fake_launcher: Path, config: Path) -> None:
    result = single_node(fake_launcher, "config.yaml", "train.max_steps=5", RANKS="2")
    assert result.returncode == 0, result.stderr
    called = re.search(r"^called: (.*)$", result.stdout, re.M)
    assert called
    assert "--num_accelerators 2 " in called[1]
    assert called[1].endswith("--module online_rl.train --config config.yaml train.max_steps=5")
    assert f"$ deepspeed {called[1]}\n" in result.stdout  # it prints what it runs
    for variable in ("VLLM_ENABLE_V1_MULTIPROCESSING=0", "DS_ACCELERATOR=cpu", "DO_NOT_TRACK=1"):
        assert variable in result.stdout


def test_ranks_share_the_cores(fake_launcher: Path, config: Path) -> None:
    environment = {"OMP_NUM_THREADS": ""}  # as if unset
    result = single_node(fake_launcher, "config.yaml", RANKS="1000", **environment)
    assert "OMP_NUM_THREADS=1\n" in result.stdout


@pytest.mark.parametrize("code", ["1", "2", "3", "75"])
def test_the_exit_code_is_the_trainers(code: str, fake_launcher: Path, config: Path) -> None:
    assert single_node(fake_launcher, "config.yaml", FAKE_CODE=code).returncode == int(code)


def test_the_deepspeed_launcher_passes_a_refusal_on(tmp_path: Path) -> None:
    (tmp_path / "refuse.py").write_text("import sys; sys.exit(2)\n")
    command = [sys.executable, "-m", "deepspeed.launcher.runner", "--hostfile", "/dev/null", "--num_accelerators", "1"]
    command += ["--log_level", "error", "--module", "refuse"]
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2, result.stderr


@pytest.mark.parametrize("ranks", ["0", "-1", "two", "1.5"])
def test_a_bad_number_of_ranks_is_refused(ranks: str, fake_launcher: Path, config: Path) -> None:
    result = single_node(fake_launcher, "config.yaml", RANKS=ranks)
    assert result.returncode == 2
    assert f"RANKS is '{ranks}'" in result.stderr and "called" not in result.stdout


def test_a_port_in_use_is_refused(fake_launcher: Path, config: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = single_node(fake_launcher, "config.yaml", MASTER_PORT=port)
    assert result.returncode == 2
    assert port in result.stderr and "in use" in result.stderr and "called" not in result.stdout


def test_a_missing_config_is_refused(fake_launcher: Path) -> None:
    result = single_node(fake_launcher, "nowhere.yaml")
    assert result.returncode == 2
    assert "nowhere.yaml" in result.stderr and "called" not in result.stdout


def test_sigterm_reaches_the_ranks_and_not_the_launcher(fake_launcher: Path, config: Path) -> None:
    """The launcher kills its ranks 30 s after its own SIGTERM; a rank that saves for longer must be asked directly."""
    rank = "trap 'echo rank saves; exit 75' TERM; echo ready; while :; do sleep 0.1; done"
    (fake_launcher / "rank").write_text(f"#!/bin/bash\n{rank}\n")
    (fake_launcher / "inner").write_text("#!/bin/bash\ntrap 'echo launcher hit' TERM\nrank & wait $!\nexit $?\n")
    (fake_launcher / "deepspeed").write_text("#!/bin/bash\ntrap 'echo launcher hit' TERM\ninner & wait $!\nexit $?\n")
    for name in ("rank", "inner", "deepspeed"):
        (fake_launcher / name).chmod(0o755)
    path = os.pathsep.join([str(fake_launcher), str(ROOT / ".venv/bin"), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "ONLINE_RL_PLATFORM": "cpu"}
    with subprocess.Popen(
        ["bash", str(ROOT / "launch/single_node.sh"), str(config)], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line.strip())
            if line.strip() == "ready":
                process.terminate()
        assert process.wait(timeout=30) == 75
    assert "rank saves" in seen and "launcher hit" not in seen


# ---- slurm.sbatch, with stand-ins for Slurm's commands


@pytest.fixture
def slurm(tmp_path: Path, fake_launcher: Path) -> Path:
    """A folder with `scontrol` and `srun`, which runs its command here as if on two nodes."""
    scripts = {
        "scontrol": """
            case "$1" in
                show) [ "$2" = job ] && echo "   Command=$JOB_SCRIPT x" || printf 'node-1\\nnode-2\\n' ;;
                requeue) echo "requeued $2" ;;
            esac
        """,
        "srun": """
            nodes="0 1"
            while [ "${1#--}" != "$1" ]; do
                [ "$1" = --overlap ] && nodes=0 # both nodes are this machine: one pass finds every rank
                shift
            done
            for node in $nodes; do SLURM_NODEID=$node "$@" & pids="$pids $!"; done
            code=0
            for pid in $pids; do wait $pid || code=$?; done
            exit $code
        """,
    }
    for name, text in scripts.items():
        (fake_launcher / name).write_text("#!/bin/bash\n" + text)
        (fake_launcher / name).chmod(0o755)
    return fake_launcher


def slurm_environment(folder: Path, **env: str) -> dict[str, str]:
    path = os.pathsep.join([str(folder), str(ROOT / ".venv/bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node-[1-2]", "SLURM_GPUS_ON_NODE": "4"}
    job |= {"SLURM_CPUS_PER_TASK": "32", "JOB_SCRIPT": str(ROOT / "launch/slurm.sbatch"), "OMP_NUM_THREADS": ""}
    return {**os.environ, "PATH": path, "ONLINE_RL_PLATFORM": "cpu", **job, **env}


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
    (slurm / "deepspeed").write_text('#!/bin/sh\necho "threads $OMP_NUM_THREADS"; cat "$2"\n')
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


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("signal_name", "requeued"), [("USR1", True), ("TERM", False)])
def test_a_slurm_job_saves_and_requeues_before_its_time_is_over(
    signal_name: str, requeued: bool, slurm: Path, config: Path
) -> None:
    """Every rank of the job gets SIGTERM, its launchers get none; scancel's SIGTERM ends it for good."""
    rank = "trap 'echo rank saves; sleep 0.3; exit 75' TERM; echo ready; while :; do sleep 0.1; done"
    (slurm / "rank").write_text(f"#!/bin/bash\n{rank}\n")
    (slurm / "rank").chmod(0o755)
    (slurm / "deepspeed").write_text(
        "#!/bin/bash\ntrap 'echo launcher hit' TERM\nrank online_rl.train --local_rank=0 & wait $!\nexit $?\n"
    )
    command = ["bash", str(ROOT / "launch/slurm.sbatch"), str(config)]
    environment = slurm_environment(slurm, SLURM_JOB_ID=f"job-{slurm.parent.name}")
    seen = []
    with subprocess.Popen(command, cwd=slurm.parent, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line.strip())
            if seen.count("ready") == 2 and line.strip() == "ready":
                process.send_signal(getattr(signal, f"SIG{signal_name}"))
        assert process.wait(timeout=30) == 75
    assert seen.count("rank saves") == 2 and "launcher hit" not in seen
    assert (f"requeued job-{slurm.parent.name}" in seen) is requeued


@pytest.mark.parametrize("code", ["1", "2", "75"])
def test_a_slurm_job_that_was_not_asked_to_stop_is_not_requeued(code: str, slurm: Path, config: Path) -> None:
    result = batch(slurm, "config.yaml", FAKE_CODE=code)
    assert result.returncode == int(code)
    assert "requeued" not in result.stdout


def test_slurm_script_outside_a_job_says_how_to_submit_it(config: Path) -> None:
    result = launch("slurm.sbatch", str(config), SLURM_JOB_ID="")
    assert result.returncode == 2
    assert "sbatch launch/slurm.sbatch" in result.stderr and "single_node.sh" in result.stderr


# ---- setup.sh, in a copy of the repository without an environment


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "launch", folder / "launch")
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


def setup(checkout: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ONLINE_RL_PLATFORM": "cpu", **env}
    command = ["bash", "launch/setup.sh", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)


def make_installed(checkout: Path) -> None:
    """An environment as a finished setup leaves it, without the packages: a pip that does nothing stands for them."""
    fake = checkout / "fake-python"
    fake.write_text(
        f"""#!/bin/bash
case "$*" in
    "-m venv --clear "*) mkdir -p "${{@: -1}}/bin" && cp "$0" "${{@: -1}}/bin/python" ;;
    "-m pip"* | *"import datasets"* | *ShareMemCommBuilder*) echo "did: $*" >>"{checkout}/did" ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""
    )
    fake.chmod(0o755)
    result = setup(checkout, PYTHON=str(fake))
    assert result.returncode == 0, result.stderr


def test_the_second_setup_does_nothing_and_a_changed_pin_is_installed(checkout: Path) -> None:
    make_installed(checkout)
    did = checkout / "did"
    assert "requirements/cpu.txt" in did.read_text()
    did.unlink()

    again = setup(checkout)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout and not did.exists()

    pins = checkout / "requirements/cpu.txt"
    pins.write_text(pins.read_text() + "one-more==1.0\n")
    changed = setup(checkout)
    assert changed.returncode == 0
    assert "nothing to do" not in changed.stdout and "requirements/cpu.txt" in did.read_text()


def test_the_test_tools_are_added_to_a_finished_setup(checkout: Path) -> None:
    make_installed(checkout)
    assert "requirements/test.txt" not in (checkout / "did").read_text()
    assert setup(checkout, "--test").returncode == 0
    assert "requirements/test.txt" in (checkout / "did").read_text()
    assert "nothing to do" in setup(checkout, "--test").stdout
    assert "nothing to do" in setup(checkout).stdout


def test_an_install_that_failed_is_not_taken_for_done(checkout: Path) -> None:
    make_installed(checkout)
    pins = checkout / "requirements/cpu.txt"
    pins.write_text(pins.read_text() + "one-more==1.0\n")
    python = checkout / ".venv/bin/python"
    works = python.read_text()
    python.write_text(
        works.replace('"-m pip"*', '"-m pip --disable-pip-version-check --no-input install"*) exit 9 ;;\n    "-m pip"*')
    )
    failed = setup(checkout)
    assert failed.returncode == 1
    assert "failed" in failed.stderr and "run the same command again" in failed.stderr
    python.write_text(works)
    assert "done in" in setup(checkout).stdout


def test_an_old_python_is_refused_with_a_remedy(checkout: Path) -> None:
    old = checkout / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = setup(checkout, PYTHON=str(old))
    assert result.returncode == 2
    assert "3.11" in result.stderr and str(old) in result.stderr and "PYTHON=" in result.stderr


def test_a_missing_compiler_is_refused_before_anything_is_installed(checkout: Path) -> None:
    result = setup(checkout, CXX="no-such-compiler", PYTHON=sys.executable)
    assert result.returncode == 2
    assert "no-such-compiler" in result.stderr and "apt install g++" in result.stderr
    assert not (checkout / ".venv").exists()


def test_an_unknown_platform_or_argument_is_refused(checkout: Path) -> None:
    result = setup(checkout, ONLINE_RL_PLATFORM="tpu")
    assert result.returncode == 2 and "tpu" in result.stderr
    assert setup(checkout, "--tests").returncode == 2
