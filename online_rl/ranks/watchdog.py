"""Reports who stands still when ranks have waited for long, before a collective's own time-out ends the run.

torch's time-out says that somebody did not come, not who. Each rank notes its place in the ranks' common store. One
that has not moved for long adds whether it waits in a collective; the others wait for those that stand anywhere else,
or do not answer. The first rank that answers prints that, once; the stacks follow rank by rank.
"""

from __future__ import annotations

import atexit
import faulthandler
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

import torch.distributed as dist

from online_rl.ranks import collectives

EARLIER = 0.9  # part of the collective's time-out after which the report comes
ANSWER_S = 2.0  # within it the other ranks say where they stand
KEY = "online_rl/place"
STANDS = "online_rl/stands"
# Folders whose functions stand for a collective when one of them is on the stack.
COLLECTIVES = tuple(
    f"{os.sep.join(folder)}{os.sep}"
    for folder in (("torch", "distributed"), ("deepspeed", "comm"), ("vllm", "distributed"), ("online_rl", "ranks"))
)


class Watchdog:
    """Watches this rank from a thread of its own.

    patience_s  seconds without a `beat` after which the report is made, once per standstill
    """

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._store: Any = dist.distributed_c10d._get_default_store() if dist.is_initialized() else None
        self._main = threading.main_thread().ident
        self._beats = 0
        self._since = time.monotonic()
        self._told = False
        self._ended = threading.Event()
        self.beat("starting")
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()
        # A daemon thread that the interpreter's end meets inside the store's C++ code aborts the whole process.
        atexit.register(self.close)

    def beat(self, place: str) -> None:
        """This rank is alive, and about to do what `place` says."""
        self._since, self._told = time.monotonic(), False
        self._beats += 1
        if self._store is not None:
            self._store.set(f"{KEY}/{collectives.rank()}", json.dumps([place, time.time(), self._beats]))

    def close(self) -> None:
        """Say no more, and wait until the thread has left the store."""
        self._ended.set()
        atexit.unregister(self.close)
        self._thread.join(ANSWER_S)

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self.patience_s / 4)):
            if not self._told and time.monotonic() - self._since > self.patience_s:
                self._told = True
                self._tell()

    def _tell(self) -> None:
        beats = self._beats
        self._say_where_i_stand(beats)
        if self._ended.wait(ANSWER_S) or self._beats != beats:  # closed, or it was only slow
            return
        places, stands = self._read(KEY), self._read(STANDS)
        answers = {rank: where for rank, (where, at) in stands.items() if at == places.get(rank, ("", 0, 0))[2]}
        if min(answers, default=collectives.rank()) == collectives.rank():
            _print("\n".join(self._report(places, answers)))
        if self._ended.wait(0.3 * collectives.rank()):  # so that the stacks come one after another
            return
        _print(f"Stacks of rank {collectives.rank()}:\n{_stacks()}")

    def _report(self, places: Mapping[int, Any], answers: Mapping[int, str]) -> list[str]:
        lines = [f"rank {collectives.rank()} has not moved for {self.patience_s:.0f} s."]
        awaited = [rank for rank in range(collectives.world_size()) if answers.get(rank) != ""]
        if awaited and len(awaited) < collectives.world_size():
            named = " and ".join(f"rank {rank}" for rank in awaited)
            lines.append(f"The other ranks wait for {named}.")
        lines.append("Where the ranks were last seen:")
        for rank in range(collectives.world_size()):
            if rank not in places:
                lines.append(f"  rank {rank}: has not come so far")
                continue
            place, when, _ = places[rank]
            stands = {None: "; it does not answer", "": "; waits for others"}.get(answers.get(rank))
            stands = f"; it is in {answers[rank]}" if stands is None else stands
            lines.append(f"  rank {rank}: {place}, {time.time() - when:.0f} s ago{stands}")
        return lines

    def _say_where_i_stand(self, beats: int) -> None:
        if self._store is not None and self._main is not None:
            frame = sys._current_frames().get(self._main)
            self._store.set(f"{STANDS}/{collectives.rank()}", json.dumps([_stands_in(frame), beats]))

    def _read(self, key: str) -> dict[int, Any]:
        """What each rank has written under `key`; without those that have not, or if the first rank is gone."""
        found = {}
        for rank in range(collectives.world_size()) if self._store is not None else ():
            if self._ended.is_set():
                break
            try:
                if self._store.check([f"{key}/{rank}"]):
                    found[rank] = json.loads(self._store.get(f"{key}/{rank}"))
            except RuntimeError:  # the rank that held the store is gone
                break
        return found


def _stands_in(frame: FrameType | None) -> str:
    """ "" for a stack that waits in a collective, else its innermost file and line."""
    if frame is None:
        return "no main thread"
    innermost = f"{frame.f_code.co_filename}:{frame.f_lineno}"
    while frame is not None:
        if any(folder in frame.f_code.co_filename for folder in COLLECTIVES):
            return ""
        frame = frame.f_back
    return innermost


def _stacks() -> str:
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file=file, all_threads=True)
        file.seek(0)
        return file.read()


def _print(text: str) -> None:
    """Write in one piece, so that other ranks' lines do not stand in between."""
    stream = sys.__stderr__ or sys.stderr
    try:
        stream.flush()
        os.write(stream.fileno(), f"{text}\n".encode(errors="replace"))
    except (OSError, ValueError):
        stream.write(f"{text}\n")
