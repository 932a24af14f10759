"""Agreement with people: cases whose order is known, and ratings by radiologists.

Two files of the user's, JSONL or CSV:

    ranking   reference, better, worse; optional `kind`
    ratings   reference, candidate, rating (higher is better), one row per report
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from online_rl.commands.score.pairs import Pair, read_pairs
from online_rl.errors import DataError

RESAMPLES = 1000


@dataclass(frozen=True)
class Ordered:
    """Cases of one kind: those that the judge puts in the right order, as equal, or in the wrong one."""

    kind: str
    right: int
    tied: int
    wrong: int

    @property
    def cases(self) -> int:
        return self.right + self.tied + self.wrong


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b between rewards and ratings, with a 95 % interval over rows; None if one of them never varies."""

    tau: float | None
    low: float | None
    high: float | None
    reports: int


def read_ranking(path: Path, encoding: str | None = None) -> list[Pair]:
    """Raises DataError that names the rows without text in reference, better or worse."""
    pairs = read_pairs(path, encoding=encoding, needed=("reference",))
    for pair in pairs:
        for name in ("better", "worse"):
            if not isinstance(pair.columns.get(name), str):
                raise DataError(f"{pair.source}: {name}: found no text, expected a report (columns: better, worse).")
    return pairs


def read_ratings(path: Path, encoding: str | None = None) -> list[tuple[Pair, float]]:
    """Raises DataError that names the rows whose `rating` is no number."""
    return [(pair, _rating(pair)) for pair in read_pairs(path, encoding=encoding)]


def _rating(pair: Pair) -> float:
    value = pair.columns.get("rating")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = float("nan")
    if isinstance(value, bool) or not abs(number) < float("inf"):
        raise DataError(f"{pair.source}: rating: found no number, expected one (higher is better).")
    return number


def ordered(kinds: Sequence[Any], better: Sequence[float | None], worse: Sequence[float | None]) -> list[Ordered]:
    """By kind, then all; a case that could not be scored counts as wrong, for it orders nothing."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for kind, best, worst in zip(kinds, better, worse, strict=True):
        place = 2 if best is None or worst is None or best < worst else 1 if best == worst else 0
        for name in {"all", str(kind)} if kind not in (None, "") else {"all"}:
            found[name][place] += 1
    names = [*sorted(name for name in found if name != "all"), *(["all"] if found else [])]
    return [Ordered(name, *found[name]) for name in names]


def agreement(rewards: Sequence[float | None], ratings: Sequence[float]) -> Agreement:
    """Rows that could not be scored are left out; the interval is a percentile bootstrap over the others."""
    rows = [(reward, rating) for reward, rating in zip(rewards, ratings, strict=True) if reward is not None]
    rng = random.Random(0)
    drawn = (
        sorted(t for _ in range(RESAMPLES) if (t := _tau(rng.choices(rows, k=len(rows)))) is not None) if rows else []
    )
    tau = _tau(rows)
    if tau is None or not drawn:
        return Agreement(tau, None, None, len(rows))
    return Agreement(tau, drawn[int(0.025 * len(drawn))], drawn[int(0.975 * len(drawn))], len(rows))


def _tau(rows: Sequence[tuple[float, float]]) -> float | None:
    from scipy.stats import kendalltau

    if len({a for a, _ in rows}) < 2 or len({b for _, b in rows}) < 2:
        return None
    return float(kendalltau(*zip(*rows, strict=True)).statistic)
