"""Requests to stop: a signal or a number of steps, agreed on by all ranks.

Before a run takes steps there is nothing to save, and a signal ends the process at once (`signals.py`). While it takes
them a signal asks for a stop after the step, and the same one again ends it at once.
"""

from __future__ import annotations

import signal
import threading
from typing import Any

from online_rl.exits import INTERRUPTED, STOPPED_EARLY
from online_rl.ranks import collectives
from online_rl.ranks.signals import CODES, end_now

_interrupted = False  # this process got Ctrl-C


class StopRequest:
    """Remembers that this rank received a signal to stop.

    stop_after  steps that one launch may take; None for no such limit
    """

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.requested = False

    def listen(self) -> None:
        """From now on SIGTERM asks for a stop after the step; a second one ends the process at once.

        SIGHUP (a closed terminal) and Ctrl-C too, in a process of the trainer's own; in a notebook they are the
        notebook's. Signals reach the main thread alone, so a run in another thread has no handler.
        """
        if threading.current_thread() is threading.main_thread():
            for number in CODES:
                if number == signal.SIGTERM or signal.getsignal(number) is end_now:
                    signal.signal(number, self._on_signal)

    def wanted(self, steps_taken: int) -> bool:
        """Whether any rank received a signal, or the launch has taken its steps; the same answer on every rank."""
        wanted = self.requested or (self.stop_after is not None and steps_taken >= self.stop_after)
        return bool(collectives.reduce_numbers([float(wanted)], "max")[0])

    def _on_signal(self, number: int, _: Any) -> None:
        global _interrupted
        self.requested = True
        _interrupted |= number == signal.SIGINT
        signal.signal(number, signal.SIG_DFL)


def code_of_stop() -> int:
    """The exit code of a run that was saved and stopped on request: 130 after Ctrl-C, else 75."""
    return INTERRUPTED if _interrupted else STOPPED_EARLY
