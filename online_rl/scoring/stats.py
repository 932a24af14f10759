"""What the judge calls of a step took, from the notes of every rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class CallStats:
    """One rank's step.

    generate_seconds  until the last completion
    exposed_seconds   from then to the last score: judging that nothing else hid
    ahead_seconds     between those, of the ref_model's passes: part of the update
    latencies         of every call, retries and pauses included, seconds
    in_flight         most calls at once
    drained           the judges' own numbers, `judge/<judge>/<key>`
    """

    generate_seconds: float
    exposed_seconds: float
    ahead_seconds: float
    latencies: list[float]
    in_flight: int
    retries: int
    failed: int
    candidates: int
    drained: dict[str, float]

    def followed_by(self, more: CallStats) -> CallStats:
        """Add the notes of further studies of the same step, sampled and scored after these."""
        return CallStats(
            generate_seconds=self.generate_seconds + more.generate_seconds,
            exposed_seconds=self.exposed_seconds + more.exposed_seconds,
            ahead_seconds=self.ahead_seconds + more.ahead_seconds,
            latencies=self.latencies + more.latencies,
            in_flight=max(self.in_flight, more.in_flight),
            retries=self.retries + more.retries,
            failed=self.failed + more.failed,
            candidates=self.candidates + more.candidates,
            drained={k: self.drained.get(k, 0.0) + more.drained.get(k, 0.0) for k in {**self.drained, **more.drained}},
        )


def call_metrics(ranks: Sequence[CallStats]) -> dict[str, float]:
    """The metrics of the step. Ranks start and end it together, so the slowest one's times are the step's.

    time/generate is over when the last rank has its last completion, time/judge_exposed when the last rank has its
    last score: judging on one rank is hidden where another still generates. time/read_ahead is of the update.
    """
    generated = max(r.generate_seconds for r in ranks)
    scored = max(r.generate_seconds + r.exposed_seconds for r in ranks)
    metrics = {
        "time/generate": generated,
        "time/judge_exposed": scored - generated,
        "time/read_ahead": max(r.ahead_seconds for r in ranks),
        "judge/in_flight": float(max(r.in_flight for r in ranks)),
        "judge/retries": float(sum(r.retries for r in ranks)),
        "judge/failed_rate": sum(r.failed for r in ranks) / max(1, sum(r.candidates for r in ranks)),
    }
    latencies = [seconds for r in ranks for seconds in r.latencies]
    if latencies:  # the smallest latency that so large a share of the calls does not exceed
        middle, high = numpy.quantile(latencies, [0.5, 0.95], method="inverted_cdf")
        metrics |= {"judge/latency_p50": float(middle), "judge/latency_p95": float(high)}
    for name in dict.fromkeys(name for r in ranks for name in r.drained):
        metrics[name] = sum(r.drained.get(name, 0.0) for r in ranks)
    return metrics
