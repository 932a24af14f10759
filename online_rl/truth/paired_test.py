"""Paired randomisation test by patient: may the difference of two policies be due to who wrote which report?

Under the null hypothesis the two reports of a study could as well have come from the other policy. The test exchanges
them at random, a patient's studies together, and counts how often the difference is at least as large as the observed
one (Noreen 1989; for BLEU and other corpus figures Riezler and Maxwell 2005):

    p = (1 + number of exchanges with |difference| >= |observed|) / (1 + EXCHANGES)

It takes any figure of column sums, so means, pooled F1 and corpus BLEU are tested alike.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from online_rl.truth.bootstrap import AT_ONCE, Statistic

EXCHANGES = 10_000
SEED = 0  # the same rows always give the same p
ROUNDING = 1e-12  # sums in another order differ by less


def p_value(statistic: Statistic, ours: Any, theirs: Any, patients: Sequence[Hashable]) -> float | None:
    """Two-sided p of statistic(ours) - statistic(theirs), rows (n, k) of the same studies in the same order.

    None with fewer than two patients, or if the figure is undefined. 1 if both policies have equal rows.
    """
    number = {patient: i for i, patient in enumerate(dict.fromkeys(patients))}
    count = len(number)
    if count < 2:
        return None
    a, b = (np.asarray(rows, dtype=np.float64).reshape(len(patients), -1) for rows in (ours, theirs))  # (n, k)
    observed = float(statistic(a.sum(axis=0)) - statistic(b.sum(axis=0)))
    if not math.isfinite(observed):
        return None
    change = np.zeros((count, a.shape[1]))  # (P, k): what the first policy gains if the patient's reports are exchanged
    np.add.at(change, [number[patient] for patient in patients], b - a)
    rng, extreme = np.random.default_rng(SEED), 0
    step = max(1, AT_ONCE // count)
    for start in range(0, EXCHANGES, step):
        size = min(step, EXCHANGES - start)
        moved = rng.integers(0, 2, size=(size, count)).astype(np.float64) @ change  # (size, k)
        differences = statistic(a.sum(axis=0) + moved) - statistic(b.sum(axis=0) - moved)  # (size,)
        # An exchange that leaves the figure undefined counts as extreme: p is never too small.
        extreme += int(np.sum(~(np.abs(differences) < abs(observed) - ROUNDING)))
    return (1 + extreme) / (1 + EXCHANGES)


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    """p values adjusted for their number by Holm's step-down method (1979): the m-th smallest of M times M - m + 1.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    adjusted, highest = {}, 0.0
    for rank, (name, p) in enumerate(sorted(ps.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, p * (len(ps) - rank)))
        adjusted[name] = highest
    return adjusted
