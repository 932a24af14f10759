"""launch/single_node.sh, with a stand-in for the deepspeed launcher. Nothing trains here."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from online_rl.commands.doctor import examine
from tests.unit.launch.running import ROOT, WORKS, fake_gpus, launch, left, path_with, stand_in, started


def single_node(fake: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return launch("single_node.sh", *arguments, cwd=fake.parent, **{"PATH": path_with(fake), **env})


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


@pytest.mark.parametrize(("words", "module"), [(["sft"], "sft"), (["sft", "--config"], "sft"), (["train"], "train")])
def test_the_first_word_may_name_the_stage(words: list[str], module: str, fake_launcher: Path, config: Path) -> None:
    result = single_node(fake_launcher, *words, "config.yaml", "sft.epochs=2", FAKE_CODE="75")
    assert f"--module online_rl.{module} --config config.yaml sft.epochs=2\n" in result.stdout
    assert f"single_node.sh {' '.join(words[:1])} config.yaml sft.epochs=2 resume=auto" in result.stderr


def test_the_launcher_repeats_no_error_unless_asked(fake_launcher: Path, config: Path) -> None:
    """After a refusal it would print "[ERROR] ... exits with return code = 2" below the message."""
    assert "--log_level critical " in single_node(fake_launcher, "config.yaml").stdout
    asked = single_node(fake_launcher, "config.yaml", "--debug").stdout
    assert "--log_level error " in asked and "config.yaml --debug" in asked


def test_ranks_share_the_cores(fake_launcher: Path, config: Path) -> None:
    environment = {"OMP_NUM_THREADS": ""}  # as if unset
    result = single_node(fake_launcher, "config.yaml", RANKS="1000", **environment)
    assert "OMP_NUM_THREADS=1\n" in result.stdout


def test_it_starts_as_many_ranks_as_the_doctor_examines(
    fake_launcher: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    for ranks in ("", "3"):
        monkeypatch.setenv("RANKS", ranks)
        [threads] = [finding.detail for finding in examine() if finding.check == "cpu threads"]
        result = single_node(fake_launcher, "config.yaml")
        started = re.search(r"--num_accelerators (\d+) ", result.stdout)
        assert started, result.stderr
        assert f"{started[1]} rank" in threads and int(started[1]) == int(ranks or min(2, len(os.sched_getaffinity(0))))


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


def test_a_gpu_platform_without_gpus_is_refused(fake_launcher: Path, config: Path) -> None:
    hidden = {"ONLINE_RL_PLATFORM": "gpu", "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": ""}
    result = single_node(fake_launcher, "config.yaml", **hidden)
    assert result.returncode == 2
    assert "torch sees no GPU here" in result.stderr and "called" not in result.stdout


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


def test_a_config_of_the_repository_is_found_from_another_folder(fake_launcher: Path) -> None:
    result = single_node(fake_launcher, "configs/demo_grpo.yaml")
    assert result.returncode == 0, result.stderr
    assert re.search(rf"^called: .* --config {ROOT}/configs/demo_grpo.yaml$", result.stdout, re.M)


class Running:
    """launch/single_node.sh with stand-ins for the launcher (two layers, as deepspeed's) and for one rank."""

    def __init__(self, stack: ExitStack, fake: Path, config: Path, rank: str, **variables: str) -> None:
        stand_in(fake / "rank", rank)
        os.mkfifo(fake / "never")  # waiting by `read` makes no child, which would pass for a rank
        pause = f'[[ -z "$DELAY" ]] || read -r -t "$DELAY" <>"{fake}/never"'
        stand_in(fake / "inner", f"{pause}; rank & wait $!; code=$?\nwait; exit $code")
        stand_in(fake / "deepspeed", "inner & wait $!\nexit $?")
        environment = {**os.environ, "PATH": path_with(fake), "ONLINE_RL_PLATFORM": "cpu", **variables}
        command = ["bash", str(ROOT / "launch/single_node.sh"), str(config), "train.max_steps=5"]
        self.process = stack.enter_context(started(command, environment, stderr=subprocess.PIPE))

    def until(self, word: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return
        raise AssertionError(f"{word} was not said")

    def end(self) -> tuple[int, str, float]:
        """Exit code, what was said, and the seconds that it took."""
        start = time.monotonic()
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out + err, time.monotonic() - start

    def left(self) -> list[int]:
        return left(self.process.pid)


@pytest.fixture
def run(fake_launcher: Path, config: Path) -> Iterator[Callable[..., Running]]:
    """Start launch/single_node.sh; nothing of it outlives the test."""
    with ExitStack() as stack:
        yield lambda rank, **variables: Running(stack, fake_launcher, config, rank, **variables)


SAVES = f"trap 'echo rank saves; exit 75' TERM; {WORKS}"


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_command_that_continues_is_printed(run, config, sent, code) -> None:
    running = run(SAVES)
    running.until("ready")
    running.process.send_signal(sent)
    ended, said, seconds = running.end()
    assert ended == code and "rank saves" in said and "error" not in said
    assert f"single_node.sh {config} train.max_steps=5 resume=auto" in said
    assert seconds < 10 and not running.left()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)])
def test_a_signal_before_there_are_ranks_ends_the_launch(run, sent, code) -> None:
    running = run("echo a rank trains on", DELAY="5")
    running.until("$ deepspeed")
    time.sleep(0.3)
    running.process.send_signal(sent)
    ended, said, seconds = running.end()
    assert ended == code and "trains on" not in said and seconds < 10 and not running.left()


def test_a_second_signal_ends_at_once(run) -> None:
    running = run(f"trap 'echo rank saves' TERM; {WORKS}")
    running.until("ready")
    running.process.terminate()
    running.until("rank saves")
    running.process.terminate()
    ended, _, seconds = running.end()
    assert ended == 130 and seconds < 3 and not running.left()


def test_a_rank_that_was_killed_gets_a_sentence_and_the_code_of_its_signal(run) -> None:
    """deepspeed's launcher ends with -9, which is 247, for a rank that signal 9 ended."""
    running = run("exit 247")
    ended, said, _ = running.end()
    assert ended == 137 and "ended by signal 9" in said and "continue with: bash" in said


def test_the_ranks_of_a_killed_script_hear_of_it(run) -> None:
    rank = f"exec {sys.executable} -c \"import sys; sys.path.insert(0, '{ROOT}'); {WATCHES}\""
    running = run(rank)
    running.until("ready")
    running.process.kill()
    deadline = time.monotonic() + 10
    while running.left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running.left()
    assert "rank saves" in running.process.communicate(timeout=5)[0]


WATCHES = (
    "import signal, time; from online_rl.ranks.ancestors import watch_ancestors; "
    "signal.signal(signal.SIGTERM, lambda *_: (print('rank saves', flush=True), sys.exit(75))); "
    "watch_ancestors(); print('ready', flush=True); time.sleep(60)"
)


def test_sigterm_reaches_the_ranks_and_not_the_launcher(fake_launcher: Path, config: Path) -> None:
    """The launcher kills its ranks 30 s after its own SIGTERM; a rank that saves for longer must be asked directly."""
    rank = f"trap 'echo rank saves; exit 75' TERM; {WORKS}"
    stand_in(fake_launcher / "rank", rank)
    stand_in(fake_launcher / "inner", "trap 'echo launcher hit' TERM\nrank & wait $!\nexit $?")
    stand_in(fake_launcher / "deepspeed", "trap 'echo launcher hit' TERM\ninner & wait $!\nexit $?")
    environment = {**os.environ, "PATH": path_with(fake_launcher), "ONLINE_RL_PLATFORM": "cpu"}
    command = ["bash", str(ROOT / "launch/single_node.sh"), str(config)]
    with started(command, environment) as process:
        seen = []
        for line in process.stdout:
            seen.append(line.strip())
            if line.strip() == "ready":
                process.terminate()
        assert process.wait(timeout=30) == 75
    assert "rank saves" in seen and "launcher hit" not in seen


def on_gpus(fake: Path, chosen: str, **env: str) -> subprocess.CompletedProcess[str]:
    """On four GPUs, of which torch is said to see as many as are chosen."""
    fake_gpus(fake, 4)
    ranks = len(chosen.split(","))
    stand_in(
        fake / "python",
        f'[ "$2" = online_rl.ranks.launch ] && echo "${{RANKS:-{ranks}}}" || exec {sys.executable} "$@"',
    )
    return single_node(fake, "config.yaml", ONLINE_RL_PLATFORM="gpu", CUDA_VISIBLE_DEVICES=chosen, **env)


@pytest.mark.parametrize(
    ("chosen", "included"),
    [("2,3", "2,3"), ("GPU-33333333-aaaa,GPU-11111111-aaaa", "3,1"), ("GPU-2222", "2"), ("0,GPU-3", "0,3")],
)
def test_gpus_may_be_chosen_by_index_or_uuid(chosen: str, included: str, fake_launcher: Path, config: Path) -> None:
    result = on_gpus(fake_launcher, chosen)
    assert f"--include localhost:{included} " in result.stdout, result.stderr


def test_fewer_ranks_take_the_first_of_the_chosen_gpus(fake_launcher: Path, config: Path) -> None:
    assert "--include localhost:3 " in on_gpus(fake_launcher, "GPU-3333,GPU-1111", RANKS="1").stdout


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ("MIG-0000-1111", "names a MIG slice, 'MIG-0000-1111'"),
        ("GPU-99999999", "names 'GPU-99999999', and nvidia-smi lists:"),
        ("GPU-", "names 'GPU-'"),
        ("0,x", "expected GPUs by index"),
    ],
)
def test_gpus_that_no_rank_can_have_are_refused(chosen: str, said: str, fake_launcher: Path, config: Path) -> None:
    result = on_gpus(fake_launcher, chosen)
    assert result.returncode == 2 and said in result.stderr and "called" not in result.stdout
