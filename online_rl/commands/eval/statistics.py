"""Means with bootstrap intervals, and two policies on the same studies: paired differences and win rate.

Studies of one patient are not independent, so patients are resampled, with all of their studies. For values x_i of
patients c,

    mean = sum_c S_c / sum_c N_c,    S_c = sum of x_i over the patient's studies, N_c = their number

and both sums are drawn together. Intervals are BCa (Efron, JASA 1987) of `scipy.stats.bootstrap`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

CONFIDENCE = 0.95
RESAMPLES = 5000
SEED = 0  # the same rows always give the same interval
BATCH_ELEMENTS = 2_000_000  # resampled numbers in memory at once
TIE = 1e-8  # differences no larger are ties, as in the pairing of online DPO

Values = Sequence["float | None"]


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` studies with the ends of its interval; None where the bootstrap cannot give one: fewer than two
    patients, or values that are all equal."""

    mean: float
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class WinRate:
    """How often the first policy's value is the better one; a tie is half a win. rate is None without a study."""

    wins: int
    ties: int
    losses: int
    rate: Estimate | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def estimate(values: Values, patients: Sequence[int]) -> Estimate | None:
    """The mean of the values that are there. A missing one is left out, never 0; None where all are missing.

    patients  a number per value, equal for studies of the same patient
    """
    found = [(float(v), p) for v, p in zip(values, patients, strict=True) if v is not None]
    if not found:
        return None
    numbers = [v for v, _ in found]
    low, high = _interval(numbers, [p for _, p in found])
    return Estimate(math.fsum(numbers) / len(numbers), low, high, len(numbers))


def difference(ours: Values, theirs: Values, patients: Sequence[int]) -> Estimate | None:
    """Mean of ours - theirs over the studies that both have a value for."""
    return estimate(_differences(ours, theirs), patients)


def win_rate(ours: Values, theirs: Values, patients: Sequence[int], greater_is_better: bool = True) -> WinRate:
    """Over the studies that both have a value for."""
    sign = 1.0 if greater_is_better else -1.0
    points = [None if d is None else 0.5 if abs(d) <= TIE else float(sign * d > 0) for d in _differences(ours, theirs)]
    return WinRate(points.count(1.0), points.count(0.5), points.count(0.0), estimate(points, patients))


def _differences(ours: Values, theirs: Values) -> list[float | None]:
    return [None if a is None or b is None else float(a) - float(b) for a, b in zip(ours, theirs, strict=True)]


def _interval(values: Sequence[float], patients: Sequence[int]) -> tuple[float | None, float | None]:
    import numpy as np
    from scipy.stats import bootstrap

    _, cluster = np.unique(np.asarray(patients), return_inverse=True)  # (n,)
    count = int(cluster.max()) + 1
    if count < 2 or max(values) == min(values):
        return None, None
    sums = np.bincount(cluster, weights=np.asarray(values, dtype=np.float64), minlength=count)  # (C,)
    sizes = np.bincount(cluster, minlength=count).astype(np.float64)  # (C,)

    def ratio(s: Any, n: Any, axis: int = -1) -> Any:
        return s.sum(axis=axis) / n.sum(axis=axis)

    for method in ("BCa", "percentile"):  # BCa has no answer where leaving out any patient changes nothing
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ends = bootstrap(
                (sums, sizes),
                ratio,
                paired=True,
                vectorized=True,
                n_resamples=RESAMPLES,
                batch=max(1, BATCH_ELEMENTS // count),
                confidence_level=CONFIDENCE,
                method=method,
                rng=np.random.default_rng(SEED),
            ).confidence_interval
        if np.isfinite(ends.low) and np.isfinite(ends.high):
            return float(ends.low), float(ends.high)
    return None, None
