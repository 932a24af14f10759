"""Findings that the starting policy wrote better than the policy does now, each finding by itself.

A pooled F1 can rise while one finding is given up: the others outweigh it. So every finding with at least
SHOWN_POSITIVES positives is compared alone, on the same studies, and the p values are adjusted for their number.

>>> both = frozenset({"tube", "effusion"})
>>> start = [Claims(both, both) for _ in range(30)]
>>> now = [Claims(frozenset({"effusion"}), both) for _ in range(30)]
>>> lost_findings(start, now, patients=range(30))
[Lost(finding='tube', positives=30, was=1.0, is_now=0.0)]
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from online_rl.truth.bootstrap import f1
from online_rl.truth.counts import SHOWN_POSITIVES, Claims, f1_of_each, table
from online_rl.truth.paired_test import holm, p_value

SIGNIFICANT = 0.05  # chance of naming any finding wrongly, all findings of an evaluation together (Holm 1979)


@dataclass(frozen=True)
class Lost:
    """F1 of one finding in the first evaluation and now; positives are the studies that have it."""

    finding: str
    positives: int
    was: float
    is_now: float

    def __str__(self) -> str:
        return f"{self.finding.replace('_', ' ')} {self.was:.2f} to {self.is_now:.2f} ({self.positives} studies)"


def lost_findings(
    start: Sequence[Claims | None], now: Sequence[Claims | None], patients: Sequence[Hashable]
) -> list[Lost]:
    """Findings whose F1 fell since the start by the paired randomisation test, the largest fall first.

    start, now, patients  of the same studies in the same order; a study that lacks claims takes no part
    """
    kept = [(a, b, p) for a, b, p in zip(start, now, patients, strict=True) if a is not None and b is not None]
    before, after, of = [a for a, _, _ in kept], [b for _, b, _ in kept], [p for _, _, p in kept]
    was, is_now = f1_of_each(before, SHOWN_POSITIVES), f1_of_each(after, SHOWN_POSITIVES)
    ps = {}
    for finding in was.keys() & is_now.keys():
        p = p_value(f1, table(_only(after, finding)), table(_only(before, finding)), of)
        if p is not None:
            ps[finding] = p
    fell = [f for f, p in holm(ps).items() if p < SIGNIFICANT and is_now[f] < was[f]]
    found = [Lost(f, sum(f in claims.true for claims in after), was[f], is_now[f]) for f in fell]
    return sorted(found, key=lambda lost: lost.is_now - lost.was)


def told(lost: Sequence[Lost]) -> str:
    """One sentence for a person."""
    return (
        f"reports got worse on {len(lost)} finding{'s' if len(lost) > 1 else ''} since the start, whatever the pooled "
        f"F1 says: {', '.join(map(str, lost))}."
    )


def _only(claims: Sequence[Claims], finding: str) -> list[Claims]:
    """The claims as if nothing but this finding had been asked about."""
    alone = frozenset([finding])
    return [Claims(c.said & alone, c.true & alone) for c in claims]
