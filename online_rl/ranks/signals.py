"""What signals do before a run listens to them, and the exit codes that they lead to. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import Any

from online_rl.exits import INTERRUPTED, STOPPED_EARLY

GRACE_S = 3.0
CODES = {signal.SIGTERM: STOPPED_EARLY, signal.SIGHUP: STOPPED_EARLY, signal.SIGINT: INTERRUPTED}


def end_on_signals() -> None:
    """Until a run listens, let a signal end this process at once with the exit code of a stop on request.

    A signal that is ignored, as SIGHUP is under nohup, stays so. Python runs a handler when the call that the main
    thread is in returns, and a collective returns when the last rank has come to it: never, where that has ended
    already. So a thread ends a rank of several if the handler has not done so within `GRACE_S`.
    """
    for number in CODES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end_now)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)  # gets the signal's number, whatever the main thread does
    threading.Thread(target=_end_if_stuck, args=(reading,), name="signals", daemon=True).start()


def _end_if_stuck(reading: int) -> None:
    while received := os.read(reading, 1):
        number = received[0]
        if number in CODES and signal.getsignal(number) is end_now:
            time.sleep(GRACE_S)
            if signal.getsignal(number) is end_now:  # the run has not begun to listen meanwhile
                end_now(number, None)


def end_now(number: int, _: Any) -> None:
    if os.environ.get("RANK", "0") == "0":
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            print("stopped before a step was taken; there is nothing to save.", file=sys.stderr, flush=True)
    os._exit(CODES[signal.Signals(number)])
