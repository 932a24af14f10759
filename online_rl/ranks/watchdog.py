"""Reports where every rank is when one has not moved for long, before a collective's own time-out ends the run.

torch's time-out says that somebody did not come, not who. Each rank notes its place in the ranks' common store; one
that waits for long prints its own stacks and the places where the others were last seen.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import torch.distributed as dist

from online_rl.ranks import collectives

EARLIER = 0.9  # part of the collective's time-out after which the report comes
KEY = "online_rl/place"


class Watchdog:
    """Watches this rank from a thread of its own.

    patience_s  seconds without a `beat` after which the stacks are printed, once per standstill
    """

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self._store: Any = dist.distributed_c10d._get_default_store() if dist.is_initialized() else None
        self._since = time.monotonic()
        self._told = False
        self._ended = threading.Event()
        self.beat("starting")
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def beat(self, place: str) -> None:
        """This rank is alive, and about to do what `place` says."""
        self._since, self._told = time.monotonic(), False
        if self._store is not None:
            self._store.set(f"{KEY}/{collectives.rank()}", json.dumps([place, time.time()]))

    def close(self) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self.patience_s / 4)):
            if not self._told and time.monotonic() - self._since > self.patience_s:
                self._told = True
                self._tell()

    def _tell(self) -> None:
        lines = [
            f"rank {collectives.rank()} has not moved for {self.patience_s:.0f} s. Where the ranks were last seen:"
        ]
        lines += [f"  rank {rank}: {seen}" for rank, seen in self._places().items()]
        print("\n".join([*lines, f"Stacks of rank {collectives.rank()}:"]), file=sys.stderr, flush=True)
        faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr, all_threads=True)

    def _places(self) -> Mapping[int, str]:
        places = {}
        for rank in range(collectives.world_size()) if self._store is not None else ():
            try:
                if self._store.check([f"{KEY}/{rank}"]):
                    place, when = json.loads(self._store.get(f"{KEY}/{rank}"))
                    places[rank] = f"{place}, {time.time() - when:.0f} s ago"
                else:
                    places[rank] = "has not come so far"
            except RuntimeError:  # the rank that held the store is gone
                places[rank] = "unknown: the first rank does not answer"
        return places
