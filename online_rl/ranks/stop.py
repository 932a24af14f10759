"""Requests to stop: a signal or a number of steps, agreed on by all ranks."""

from __future__ import annotations

import signal
import threading
from typing import Any

from online_rl.ranks import collectives


class StopRequest:
    """Remembers that this rank was told to stop.

    stop_after  steps that one launch may take; None for no such limit
    """

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.requested = False

    def listen(self) -> None:
        """From now on SIGTERM asks for a stop after the step; a second one ends the process at once.

        Signals reach the main thread alone, so a run in another thread has no handler.
        """
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def wanted(self, steps_taken: int) -> bool:
        """Whether any rank was told to stop, or the launch has taken its steps; the same answer on every rank."""
        wanted = self.requested or (self.stop_after is not None and steps_taken >= self.stop_after)
        return bool(collectives.reduce_numbers([float(wanted)], "max")[0])

    def _on_sigterm(self, *_: Any) -> None:
        self.requested = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
