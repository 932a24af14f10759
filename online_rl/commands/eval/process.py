"""The separate processes in which a policy is evaluated: started, given their tasks, and ended in bounded time."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from online_rl.errors import DataError, RankFailed

LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # of a launcher around us
LOOK_S = 0.1  # between looks at whether all have ended
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
    run_workers(module, [task], [None], say)


def run_workers(module: str, tasks: Sequence[Task], gpus: Sequence[str | None], say: Say) -> None:
    """The same for several at once, each on the GPU that stands in its place (None: on those of this process). If one
    fails, the others are asked to stop and keep what they have."""
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCHER}
    for task in tasks:
        try:
            Path(task.folder).mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise DataError(f"{task.folder}: cannot be written ({problem.strerror}). Name another --output.") from None
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = [sys.executable, "-m", module]
    children: list[subprocess.Popen[str]] = []
    told = False
    try:
        for task, gpu in zip(tasks, gpus, strict=True):
            own = environment | ({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})
            if len(tasks) > 1:
                own.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(tasks))))
            children.append(subprocess.Popen(command, env=own, stdin=subprocess.PIPE, stdout=2, text=True))
            _tell(children[-1], task)
        while None in (codes := [child.poll() for child in children]) and not any(codes):
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        told = True  # the terminal tells the workers as well
        raise
    finally:
        failed = next((place for place, child in enumerate(children) if child.returncode), None)
        _end(children, told)
        signal.signal(signal.SIGTERM, previous)
    if failed is not None:
        code = children[failed].returncode
        if code < 0:
            label = tasks[failed].policy["label"]
            say(f"{label}: ended by {signal.Signals(-code).name}; the same command continues.")
        raise RankFailed("the evaluation stopped", code if code > 0 else 128 - code)


def _tell(child: subprocess.Popen[str], task: Task) -> None:
    assert child.stdin is not None
    with suppress(BrokenPipeError):  # it ended at once; its exit code says so
        child.stdin.write(json.dumps(dataclasses.asdict(task)))  # type: ignore[call-overload]
        child.stdin.close()


def _end(children: Sequence[subprocess.Popen[str]], told: bool) -> None:
    """Let the workers keep what they have and close their judges; in bounded time they are gone."""
    for child in children:
        if child.poll() is None and not told:
            child.terminate()
    for child in children:
        try:
            child.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
