"""One training step as the monitor sees it: its number and how long its phases took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Show = Callable[[str], AbstractContextManager[None]]


class Step:
    """Times the phases of one step.

    number   1-based
    seconds  phase -> seconds so far; "step" holds the whole step once it has ended
    """

    def __init__(self, number: int, show: Show = lambda name: nullcontext()) -> None:
        self.number = number
        self.seconds: dict[str, float] = {}
        self._show = show

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show that the run is in this phase, and add its seconds."""
        with self._show(name), self.timed(name):
            yield

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
