"""Stops a rank whose launcher, or the script that started it, was killed and could tell it nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

LOOK_S = 1.0
SCRIPT = "ONLINE_RL_SCRIPT"  # process number of the script that a person started


def watch_ancestors() -> None:
    """From now on, send this process SIGTERM when one of those that started it is gone.

    They are its parents up to the script that `ONLINE_RL_SCRIPT` names; without one, the deepspeed launcher alone. A
    process started by hand has none: whoever starts it in the background may log out.
    """
    watched = _ancestors()
    if watched:
        threading.Thread(target=_watch, args=(watched,), name="ancestors", daemon=True).start()


def _watch(watched: list[tuple[int, str]]) -> None:
    while all(_started(process) == started for process, started in watched):
        time.sleep(LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _ancestors() -> list[tuple[int, str]]:
    """Process number and start time of each."""
    script, found = os.environ.get(SCRIPT, ""), []
    process, launchers = os.getppid(), 0
    while process > 1:
        found.append((process, _started(process)))
        if "deepspeed" in _command(process):
            launchers = len(found)
        if str(process) == script:
            return found
        process = _parent(process)
    return found[:launchers]


def _stat(process: int) -> list[str]:
    """Fields of /proc/N/stat from the third, the state, on; none if there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _started(process: int) -> str:
    """When it was started, in ticks since the machine was; "" if it is gone, or waits only for its parent."""
    fields = _stat(process)
    return fields[19] if fields and fields[0] not in ("Z", "X") else ""


def _parent(process: int) -> int:
    fields = _stat(process)
    return int(fields[1]) if fields else 0


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
