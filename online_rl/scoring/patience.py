"""Waiting for a judge that cannot be reached: for how long, and what the user is told meanwhile."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from online_rl.config.model import FIRST_PAUSE_S, LONGEST_PAUSE_S, Scoring

TELL_AFTER_S = 2.0  # an outage that is over sooner is nobody's concern
TELL_EVERY_S = 20.0


class Patience:
    """One call's patience: the pauses between its attempts, and when to give up.

    A pause doubles from FIRST_PAUSE_S to LONGEST_PAUSE_S and is cut by up to half at random, so that ranks that lost
    the same judge do not come back at the same moment. It is never shorter than the judge's wish (Retry-After).
    """

    def __init__(self, options: Scoring) -> None:
        self.options = options
        self._failed_since: float | None = None

    def is_over(self, attempts: int, wish_s: float) -> bool:
        """Whether a call that has failed `attempts` times is given up.

        A wish that lies past scoring.deadline_s is not waited for: the step would end before it.
        """
        now = time.monotonic()
        self._failed_since = self._failed_since or now
        if wish_s > self.options.deadline_s:
            return True
        if self.options.max_retries is not None:
            return attempts > self.options.max_retries
        return now - self._failed_since >= self.options.outage_s

    def pause(self, attempts: int, wish_s: float) -> float:
        """Seconds before the next attempt."""
        longest = min(FIRST_PAUSE_S * 2 ** min(attempts - 1, 30), LONGEST_PAUSE_S)
        return max(wish_s, longest * random.uniform(0.5, 1.0))


class Outages:
    """Judges that are being waited for. Reports an outage when it lasts, repeatedly while it does, and when it is over.

    say  is told a sentence, from the judges' thread; by default the first rank prints it
    """

    def __init__(self) -> None:
        self.say: Callable[[str], Any] = _print_on_first_rank
        self._since: dict[str, float] = {}  # judge -> when it began to fail
        self._told: dict[str, float] = {}  # judge -> when this was last said
        self._lock = threading.Lock()

    def waiting(self, judge: str, reason: str, pause_s: float) -> None:
        """A call of `judge` has failed and is made again in `pause_s` seconds."""
        now = time.monotonic()
        with self._lock:
            since = self._since.setdefault(judge, now)
            silent = now - since + pause_s < TELL_AFTER_S or now - self._told.get(judge, -TELL_EVERY_S) < TELL_EVERY_S
            if silent:
                return
            self._told[judge] = now
        why = f" ({reason})" if reason else ""
        self.say(f"waiting for judge {judge!r}{why}, for {now - since:.0f} s so far; asked again in {pause_s:.0f} s")

    def over(self, judge: str) -> None:
        """A call of `judge` that had failed has been answered."""
        with self._lock:
            since, told = self._since.pop(judge, None), self._told.pop(judge, None)
        if since is not None and told is not None:
            self.say(f"judge {judge!r} answers again after {time.monotonic() - since:.0f} s")


def _print_on_first_rank(sentence: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(sentence, file=sys.stderr, flush=True)
