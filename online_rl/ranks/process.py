"""One run at a time in this process, which is left as it was found: for notebooks and scripts that train twice."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from online_rl.errors import ConfigError

# What tells a rank its place. Set by a launcher, or by us for a rank alone; left behind, a process started later from
# here would take it for its own.
PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

_running = threading.Lock()
_own_group: Any = None  # the process group that an earlier run of ours has left up
_runs = 0  # begun in this process, and so on every rank, as all of them make the same calls


class Engine(Protocol):
    """What ends the process group when it ends itself, as vLLM's engine does."""

    def close(self) -> None: ...


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def runs() -> int:
    """Runs that this process has begun, this one included; the same on every rank."""
    return _runs


def will_end(engine: Engine) -> None:
    """Remember an engine, so that it has ended on every rank before another run of this process begins."""
    _engines.add(engine)


def _end_earlier_run() -> None:
    """End what an earlier run has left: its engines, then its process group.

    A run that succeeded has freed its engine, and the group with it. One that failed may still be held by the traceback
    of its error, on some ranks and not on others; those would wait for each other in two different groups, or lose the
    new one as soon as the old engine is freed.
    """
    for engine in list(_engines):
        engine.close()
    _engines.clear()
    if _own_group is not None and _group() is _own_group:
        import torch.distributed as dist

        dist.destroy_process_group()


@contextmanager
def sole_run() -> Iterator[None]:
    """Hold off a second run, refuse a process group of somebody else's, and restore what a run changes.

    What an earlier run has left up ends first. Raises ConfigError.
    """
    global _own_group, _runs
    if not _running.acquire(blocking=False):
        raise ConfigError(
            "train: a run of this process has not ended yet, and two would share vLLM's and DeepSpeed's globals. Wait "
            "for it, or start the second in a process of its own."
        )
    place = {name: os.environ.get(name) for name in PLACE}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if _group() not in (None, _own_group):
            _refuse_foreign_group()
        _end_earlier_run()
        _runs += 1
        try:
            yield
        finally:
            _own_group = _group()
    finally:
        for name, value in place.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
        _running.release()


def _refuse_foreign_group() -> None:
    import torch.distributed as dist

    raise ConfigError(
        f"train: torch.distributed is up already ({dist.get_backend()}, {dist.get_world_size()} ranks), started by "
        "something else; expected none, since vLLM and DeepSpeed join one that is made for them. Call train before it "
        "is started, or end it with torch.distributed.destroy_process_group()."
    )


def _group() -> Any:
    """The default process group; None if none is up."""
    distributed = sys.modules.get("torch.distributed")  # whoever has started one has imported it
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.group.WORLD
