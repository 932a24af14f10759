"""The separate process in which one policy is evaluated: it is started, given its task, and ended in bounded time."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from online_rl.errors import DataError, RankFailed

LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # of a launcher around us
CLOSE_S = 60.0  # a worker that is asked to stop closes its judges first

Say = Callable[[str], Any]


class Task(Protocol):
    """A dataclass of JSON values."""

    @property
    def folder(self) -> str: ...

    @property
    def policy(self) -> dict[str, Any]: ...


def run_worker(module: str, task: Task, say: Say) -> None:
    """Run `python -m module` with the task on stdin. It prints its own errors; RankFailed carries its exit code."""
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCHER}
    try:
        Path(task.folder).mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise DataError(f"{task.folder}: cannot be written ({problem.strerror}). Name another --output.") from None
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = [sys.executable, "-m", module]
    child = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=2, text=True)
    told = False
    try:
        child.communicate(json.dumps(dataclasses.asdict(task)))  # type: ignore[call-overload]
    except KeyboardInterrupt:
        told = True  # the terminal tells the worker as well
        raise
    finally:
        _end(child, told)
        signal.signal(signal.SIGTERM, previous)
    if child.returncode < 0:
        say(f"{task.policy['label']}: ended by {signal.Signals(-child.returncode).name}; the same command continues.")
    if child.returncode:
        raise RankFailed("the evaluation stopped", child.returncode if child.returncode > 0 else 128 - child.returncode)


def _end(child: subprocess.Popen[str], told: bool) -> None:
    """Let the worker keep what it has and close its judges; in bounded time it is gone."""
    if child.poll() is None and not told:
        child.terminate()
    try:
        child.wait(CLOSE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
