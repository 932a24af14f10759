"""Who may use the machine's cores when several pytest workers start commands: never more ranks than cores.

Ranks that wait for each other do so in a loop, so two launches of two ranks on two cores take longer side by side than
one after the other; two launches of one rank do not.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

CORES = len(os.sched_getaffinity(0))
PLACE = Path(tempfile.gettempdir()) / f"online-rl-cores-{os.getuid()}"


@contextmanager
def cores(wanted: int) -> Iterator[None]:
    """Wait for so many cores and hold them; all there are where more are wanted. Locks end with their process."""
    PLACE.mkdir(exist_ok=True)
    held: list[TextIO] = []
    try:
        with (PLACE / "queue").open("w") as queue:
            fcntl.flock(queue, fcntl.LOCK_EX)  # whoever waits for two is not overtaken by those who want one
            while len(held) < min(wanted, CORES):
                for i in range(CORES):
                    if len(held) < min(wanted, CORES):
                        held += _taken(PLACE / f"core-{i}")
                time.sleep(0.1)
        yield
    finally:
        for core in held:
            core.close()


def _taken(core: Path) -> list[TextIO]:
    """Its lock, if nobody has it."""
    file = core.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return []
    return [file]
