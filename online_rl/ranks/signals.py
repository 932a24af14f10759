"""What signals do before a run listens to them, and the exit codes that they lead to. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Any

from online_rl.exits import INTERRUPTED, STOPPED_EARLY

CODES = {signal.SIGTERM: STOPPED_EARLY, signal.SIGHUP: STOPPED_EARLY, signal.SIGINT: INTERRUPTED}


def end_on_signals() -> None:
    """Until a run listens, let a signal end this process at once with the exit code of a stop on request.

    A signal that is ignored, as SIGHUP is under nohup, stays so.
    """
    for number in CODES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end_now)


def end_now(number: int, _: Any) -> None:
    if os.environ.get("RANK", "0") == "0":
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            print("stopped before a step was taken; there is nothing to save.", file=sys.stderr, flush=True)
    os._exit(CODES[signal.Signals(number)])
