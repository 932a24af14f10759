"""Verbosity against the starting policy: how much longer reports have become since the run began."""

from __future__ import annotations

import math
from collections.abc import Iterable

from online_rl.monitor.records import Record

NAME = "verbosity/vs_start"


class StartingPolicy:
    """Remembers how long the reports of the starting policy were, per split.

    In training, whose studies differ from step to step, it is the verbosity over that of step 1, which the starting
    policy sampled. In evaluations it is the mean words of the reports over those of the evaluation at step 0, on the
    same studies.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._lengths: dict[str, float] = {}
        for record in records:
            if record.get("eval"):
                self.of_evaluation(record["step"], record, record.get("split", "eval"))
            else:
                self.of_step(record["step"], record)

    def of_step(self, step: int, metrics: Record) -> dict[str, float]:
        return self._compare("train", step == 1, metrics.get("verbosity/mean"))

    def of_evaluation(self, step: int, metrics: Record, split: str) -> dict[str, float]:
        return self._compare(split, step == 0, metrics.get("completions/mean_words"))

    def _compare(self, split: str, is_start: bool, length: float | None) -> dict[str, float]:
        """The metric, or nothing where the starting policy was not measured or wrote nothing."""
        if is_start and length and math.isfinite(length):
            self._lengths[split] = length
        start = self._lengths.get(split)
        return {NAME: length / start} if start and length is not None else {}
