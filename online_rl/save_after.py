"""Whatever ends a run, its last complete step is saved first, if every rank is there to take part."""

from __future__ import annotations

from collections.abc import Callable

from online_rl.errors import CheckpointError
from online_rl.monitor import Monitor
from online_rl.ranks import collectives


def save_after(problem: BaseException, save: Callable[[], None], step: int, monitor: Monitor) -> None:
    """Save `step` after `problem`, which the caller raises again; what fails meanwhile is noted and hides nothing.

    Not after an error that other ranks have not met, which are elsewhere, and not after a save that failed.
    """
    if isinstance(problem, CheckpointError) or not collectives.is_met_by_all(problem):
        return
    try:
        save()
    except Exception as another:
        monitor.note(f"step {step} could not be saved ({type(another).__name__}: {another})")
    else:
        monitor.note(f"step {step} is saved; resume=auto continues from it")
