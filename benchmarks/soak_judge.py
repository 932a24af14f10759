"""A judge with faults of its own, which come from the case alone: every run of the same policy meets the same ones.

Of a thousand different cases about 20 cannot be scored, 2 fail for good, and 20 fail when a process first asks and are
answered when it asks again. What is answered is a value between 0 and 1 that has nothing to do with the report.
"""

from __future__ import annotations

import hashlib

from judges import Case, Score


class Faulty:
    name = "faulty"

    def __init__(self) -> None:
        self._asked: set[int] = set()

    def score(self, cases: list[Case]) -> list[Score]:
        return [self._score(case) for case in cases]

    def _score(self, case: Case) -> Score:
        number = int.from_bytes(hashlib.sha256(f"{case.candidate}\n{case.reference}".encode()).digest()[:6], "big")
        kind, value = number % 1000, number // 1000 % 1000 / 1000
        if kind < 20:
            return Score.unscorable("an answer that cannot be read")
        if kind < 22:
            return Score.failed("out of reach")
        if kind < 42 and number not in self._asked:
            self._asked.add(number)
            return Score.failed("out of reach for a moment")
        return Score(value)
