"""Metrics while they are being counted: a mean, a maximum or a sum, each of which knows how to merge with its like.

What algorithms, passes and the update count travels as `Metrics` and becomes plain numbers once, in `over_ranks`.

>>> one = {"loss": Mean(6.0, 4.0), "longest": Max(7.0), "pairs": Sum(3.0)}
>>> other = {"loss": Mean(0.0, 2.0), "longest": Max(9.0)}
>>> values(merged([one, other]))
{'loss': 1.0, 'longest': 9.0, 'pairs': 3.0}
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# torch is not imported here: a configuration asks the algorithms, which import this module, on machines without it.


@dataclass(frozen=True)
class Mean:
    """A mean over everything that was counted, however it was split.

    total  the sum of the values
    count  the denominator: how many there were, or their weight; 0 means there is nothing to report
    """

    total: float = 0.0
    count: float = 0.0

    def merge(self, other: Mean) -> Mean:
        return Mean(self.total + other.total, self.count + other.count)

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None


@dataclass(frozen=True)
class Max:
    """The largest value; there is no denominator."""

    largest: float = -math.inf

    def merge(self, other: Max) -> Max:
        return Max(max(self.largest, other.largest))

    @property
    def value(self) -> float | None:
        return None if self.largest == -math.inf else self.largest


@dataclass(frozen=True)
class Sum:
    """A total over passes and ranks; the denominator is 1."""

    total: float = 0.0

    def merge(self, other: Sum) -> Sum:
        return Sum(self.total + other.total)

    @property
    def value(self) -> float | None:
        return self.total


Metrics = dict[str, Mean | Max | Sum]


def merged(parts: Iterable[Metrics]) -> Metrics:
    """One entry per name. Raises TypeError if a name is a mean in one part and something else in another."""
    result: Metrics = {}
    for part in parts:
        for name, metric in part.items():
            before: Any = result.get(name, type(metric)())
            kinds = {type(before).__name__, type(metric).__name__}
            if len(kinds) > 1:
                found = " and ".join(sorted(kinds))
                raise TypeError(f"metric {name!r}: found {found}, expected one type. Give one of them another name.")
            result[name] = before.merge(metric)
    return result


def values(metrics: Metrics) -> dict[str, float]:
    """Plain numbers, without the means and maxima of nothing."""
    return {name: metric.value for name, metric in metrics.items() if metric.value is not None}


def over_ranks(parts: Iterable[Metrics]) -> dict[str, float]:
    """Global numbers of what this rank's passes and all other ranks counted. Every rank must call.

    A name may be missing on some ranks.
    """
    from online_rl.ranks import collectives

    return values(merged(collectives.gather(merged(parts))))
