"""Who the ranks are, so that those left can say which of them is gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from online_rl.ranks import collectives

_places: list[tuple[str, int]] = []  # host and process number, by rank


def take() -> None:
    """Note where every rank lives. All ranks call it, once they have joined."""
    global _places
    _places = collectives.gather((socket.gethostname(), os.getpid()))


def sentence_about_missing() -> str:
    """A sentence about the ranks of this machine that have ended; "" if none has, as far as one can see from here."""
    here = socket.gethostname()
    gone = [
        f"rank {rank} on {host} (process {process})"
        for rank, (host, process) in enumerate(_places)
        if host == here and _has_ended(process)
    ]
    if not gone:
        return ""
    return (
        f"{' and '.join(gone)} ended without a word, as when it is killed or the machine runs out of memory (dmesg); "
        "the others stop. Continue with resume=auto."
    )


def _has_ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True
