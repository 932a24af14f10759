"""Paired bootstrap by patient of pooled counts: one place for the intervals of F1, recall and their differences.

A pooled figure is a function of column sums, such as F1 = 2 TP / (2 TP + FP + FN). Studies of one patient are not
independent, so patients are drawn with replacement, each with all of its studies; the same draws serve both sides of a
difference, which makes it paired.

>>> rows = [[1, 0, 0], [1, 1, 0], [0, 0, 1]]  # TP, FP, FN of three studies
>>> estimate(f1, rows, patients=[7, 7, 8]).value
0.6666666666666666
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DRAWS = 2000
SEED = 0  # the same rows always give the same interval
CONFIDENCE = 0.95
AT_ONCE = 4_000_000  # drawn numbers in memory

Array = Any  # numpy.ndarray of float64
Statistic = Callable[[Array], Array]  # sums (..., k) -> figures (...); nan where a figure is undefined


@dataclass(frozen=True)
class Estimate:
    """A pooled figure with the ends of its 95 % interval and its standard error over the draws.

    low, high, error  None with fewer than two patients, or if too few draws define the figure
    """

    value: float
    low: float | None
    high: float | None
    error: float | None

    @property
    def z(self) -> float:
        """The figure in standard errors; 0 without an interval, infinite if no draw differs."""
        if self.error is None or self.value == 0:
            return 0.0
        return self.value / self.error if self.error > 0 else math.copysign(math.inf, self.value)


def estimate(statistic: Statistic, rows: Any, patients: Sequence[Hashable]) -> Estimate | None:
    """The figure of the column sums of `rows` (n, k), one row per study. None if it is undefined, never 0."""
    if not len(patients):
        return None
    table = np.asarray(rows, dtype=np.float64).reshape(len(patients), -1)  # (n, k)
    value = float(statistic(table.sum(axis=0)))
    if not math.isfinite(value):
        return None
    figures = statistic(resampled_sums(table, patients))  # (draws,)
    figures = figures[np.isfinite(figures)]
    if len(figures) < DRAWS / 2:
        return Estimate(value, None, None, None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(figures, (tail, 1 - tail))
    return Estimate(value, float(low), float(high), float(figures.std(ddof=1)))


def difference(statistic: Statistic, ours: Any, theirs: Any, patients: Sequence[Hashable]) -> Estimate | None:
    """statistic(ours) - statistic(theirs) on the same studies, both (n, k) and in the same order."""
    if not len(patients):
        return None
    a, b = (np.asarray(rows, dtype=np.float64).reshape(len(patients), -1) for rows in (ours, theirs))
    width = a.shape[1]
    return estimate(lambda s: statistic(s[..., :width]) - statistic(s[..., width:]), np.hstack([a, b]), patients)


def mean(rows: Sequence[float | None], patients: Sequence[Hashable]) -> Estimate | None:
    """The mean of the values that are there; a missing one is left out."""
    pairs = [(0.0, 0.0) if v is None or not math.isfinite(v) else (v, 1.0) for v in rows]
    return estimate(lambda s: ratio(s[..., 0], s[..., 1]), pairs, patients)


def resampled_sums(table: Array, patients: Sequence[Hashable]) -> Array:
    """(DRAWS, k) column sums, each over as many patients as there are, drawn with replacement; nan with one patient."""
    number = {patient: i for i, patient in enumerate(dict.fromkeys(patients))}
    count = len(number)
    if count < 2:
        return np.full((DRAWS, table.shape[1]), np.nan)
    of_patient = np.zeros((count, table.shape[1]))  # (P, k)
    np.add.at(of_patient, [number[patient] for patient in patients], table)
    rng, sums = np.random.default_rng(SEED), []
    step = max(1, AT_ONCE // count)
    for start in range(0, DRAWS, step):
        size = min(step, DRAWS - start)
        cells = rng.integers(0, count, size=(size, count)) + count * np.arange(size)[:, None]
        drawn = np.bincount(cells.ravel(), minlength=size * count).reshape(size, count)  # times that each is drawn
        sums.append(drawn.astype(np.float64) @ of_patient)
    return np.concatenate(sums)


def ratio(above: Array, below: Array) -> Array:
    """above / below, nan where below is 0."""
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)


def precision(sums: Array) -> Array:
    """TP / (TP + FP) of sums (..., 3) of TP, FP, FN."""
    return ratio(sums[..., 0], sums[..., 0] + sums[..., 1])


def recall(sums: Array) -> Array:
    """TP / (TP + FN)."""
    return ratio(sums[..., 0], sums[..., 0] + sums[..., 2])


def f1(sums: Array) -> Array:
    """2 TP / (2 TP + FP + FN)."""
    return ratio(2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2])
