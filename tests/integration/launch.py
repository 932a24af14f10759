"""Starting what users start, in a session of its own, and reading what it leaves behind. Nothing outlives a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from judges.network import free_port
from tests.integration.cores import cores

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/demo_grpo.yaml"
PATIENCE_S = 300.0  # an idle machine needs 20 to 60 s per launch


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its exit code, what it said, and the run folder that it was given."""

    command: list[str]
    code: int
    out: str
    err: str
    seconds: float
    run_dir: Path

    def ok(self, code: int = 0) -> Finished:
        """Fail with the end of both streams unless the exit code is `code`."""
        assert self.code == code, (
            f"exit code {self.code}, expected {code}, after {self.seconds:.0f} s: {' '.join(self.command)}\n"
            f"--- stdout\n{self.out[-3000:]}\n--- stderr\n{self.err[-6000:]}"
        )
        return self

    def refused(self, *words: str, code: int = 2) -> str:
        """The message of a command that ended with a user error; it names `words` and shows no traceback."""
        self.ok(code)
        assert "Traceback" not in self.err + self.out, self.err
        messages = self.err.split("error: ")[1:]
        assert messages, f"no message on stderr: {self.err}"
        for word in words:
            assert word in messages[0], f"{word!r} is not in: {messages[0]}"
        return messages[0]


def train(log: Path, *settings: str, ranks: int = 2, config: str = CONFIG, timeout_s: float = PATIENCE_S) -> Finished:
    """Train as users do: one rank by `python -m online_rl.train`, several by the deepspeed launcher."""
    with started(log, training_command(ranks, config, settings), ranks) as process:
        return process.wait(timeout_s)


def command_line(log: Path, *arguments: str, timeout_s: float = PATIENCE_S) -> Finished:
    """`online-rl ARGUMENTS`."""
    with started(log, [sys.executable, "-m", "online_rl.cli", *arguments]) as process:
        return process.wait(timeout_s)


def training_command(ranks: int, config: str, settings: Sequence[str]) -> list[str]:
    arguments = ["--config", config, *settings]
    if ranks == 1:
        return [sys.executable, "-m", "online_rl.train", *arguments]
    launcher = str(Path(sys.executable).parent / "deepspeed")
    where = ["--num_accelerators", str(ranks), "--master_port", str(free_port())]
    return [launcher, *where, "--module", "online_rl.train", *arguments]


class Started:
    """A running command, with its streams in files beside `log`."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str], cwd: Path = ROOT) -> None:
        self.command, self.log = command, log
        self.start = time.monotonic()
        with self._path("out").open("wb") as out, self._path("err").open("wb") as err:
            self.process = subprocess.Popen(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )

    def wait(self, timeout_s: float = PATIENCE_S) -> Finished:
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"still running after {timeout_s:g} s: {' '.join(self.command)}\n"
                f"--- stdout\n{self.text('out')[-3000:]}\n--- stderr\n{self.text('err')[-6000:]}"
            ) from None
        seconds = time.monotonic() - self.start
        return Finished(self.command, code, self.text("out"), self.text("err"), seconds, self.run_dir())

    def run_dir(self) -> Path:
        given = [argument[8:] for argument in self.command if argument.startswith("run.dir=")]
        return Path(given[-1]) if given else ROOT / "runs"

    def text(self, stream: str) -> str:
        return self._path(stream).read_text(errors="replace")

    def wait_until(self, true: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Wait for something that the command does; an early end of the command fails."""
        deadline = time.monotonic() + timeout_s
        while not true():
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.text('err')[-6000:]}"
            assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain: {self.text('out')[-3000:]}"
            time.sleep(0.05)

    def terminate(self) -> None:
        """What `kill PID` does."""
        self.process.send_signal(signal.SIGTERM)

    def survivors(self) -> list[psutil.Process]:
        """Processes of the command's session that are still alive; its launchers make process groups of their own."""
        alive = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(process)
            except (ProcessLookupError, psutil.Error):
                continue
        return alive

    def shared_memory(self) -> list[Path]:
        """DeepSpeed's buffers under the port that the command was given."""
        if "--master_port" not in self.command:
            return []
        port = self.command[self.command.index("--master_port") + 1]
        return list(Path("/dev/shm").glob(f"deepspeed_*_{port}_*"))

    def _path(self, stream: str) -> Path:
        return self.log.with_name(f"{self.log.name}.{stream}")


@contextmanager
def started(log: Path, command: list[str], ranks: int = 1, cwd: Path = ROOT, **variables: str) -> Iterator[Started]:
    """Run `command` in `cwd`, once there are cores for its ranks; whatever of it is alive at the end of the block is
    killed.

    A command that ended by itself and left processes behind fails the test.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with cores(ranks):
        yield from _until_gone(Started(command, log, environment() | variables, cwd))


def _until_gone(process: Started) -> Iterator[Started]:
    try:
        yield process
        deadline = time.monotonic() + 15
        while process.process.poll() is not None and process.survivors() and time.monotonic() < deadline:
            time.sleep(0.2)
        orphans = process.survivors()
        assert not orphans, f"left behind: {[p.cmdline()[:6] for p in orphans]}"
        assert not process.shared_memory(), "named shared memory outlives the run"
    finally:
        for orphan in process.survivors():
            orphan.kill()
        process.process.wait(30)


def environment() -> dict[str, str]:
    """One thread per rank, this Python's scripts first, no other launcher's leftovers; DeepSpeed builds beside it."""
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', '')}"
    env["OMP_NUM_THREADS"] = "1"
    env.setdefault("TORCH_EXTENSIONS_DIR", str(Path(sys.prefix) / "torch_extensions"))
    return env


def records(run_dir: Path, evaluations: bool = False) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl, of training steps or of evaluations."""
    path = run_dir / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in lines if bool(line.get("eval")) == evaluations]


def scalars(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: tag -> (step, value) in order of steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def resolved(run_dir: Path) -> Any:
    from online_rl.config import load_config

    return load_config(run_dir / "config.resolved.yaml")
