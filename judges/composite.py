"""Several judges as one reward: a weighted sum with gates, on the judges' own scales or normalised per group.

    only_if: findings.false_finding == 0            a gate: judge.part, a comparison, a number; joined by `and`

A term whose gate is closed adds nothing (0) to the sum. `judge.value` is the judge's value; every
other word is one of its parts (`raw` is the value before length control).

What an algorithm learns from a group of candidates i, with terms k, is one of

    sum_then_normalize   r_i = sum_k w_k v_ik                                     (the algorithm normalises r)
    normalize_then_sum   r_i = sum_k w_k (v_ik - mean_k) / (std_k + 1e-4)         (GDPO, arXiv 2601.05242)

with mean_k and std_k (n - 1) over the scored candidates of the group: judges of different spread then weigh what their
weights say.
"""

from __future__ import annotations

import math
import operator
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from judges.base import Score, Status
from judges.errors import JudgeError

Aggregation = Literal["sum_then_normalize", "normalize_then_sum"]
EPSILON = 1e-4  # TRL's, so that a judge that says the same of all candidates adds nothing

OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"\s*([^=!<>]+)\.(\w+)\s*(==|!=|<=|>=|<|>)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")


@dataclass(frozen=True)
class Condition:
    """`judge.part op number`."""

    judge: str
    part: str
    op: str
    number: float

    def holds(self, scores: Mapping[str, Score]) -> bool:
        """Raises JudgeError when the judge's score has no such part."""
        score = scores[self.judge]
        parts = {**score.parts, "value": score.value}
        found = parts.get(self.part)
        if found is None:
            raise JudgeError(
                f"only_if: judge {self.judge!r} gave no part {self.part!r}; it gave {', '.join(sorted(parts))}. Name "
                "one that every score of it has."
            )
        return bool(OPERATORS[self.op](found, self.number))


def parse_gate(text: str) -> tuple[Condition, ...]:
    """The conditions of a gate, all of which must hold. Raises JudgeError; nothing is evaluated as Python.

    >>> parse_gate("findings.false_finding == 0")
    (Condition(judge='findings', part='false_finding', op='==', number=0.0),)
    """
    conditions = []
    for part in re.split(r"\s+and\s+", text.strip()):
        match = _CONDITION.fullmatch(part)
        if not match:
            raise JudgeError(
                f"only_if: found {part!r}, expected judge.part, one of {' '.join(OPERATORS)}, and a number, such as "
                "findings.false_finding == 0; several are joined by `and`."
            )
        judge, name, op, number = match.groups()
        conditions.append(Condition(judge.strip(), name, op, float(number)))
    return tuple(conditions)


@dataclass(frozen=True)
class Term:
    """One judge's part in the reward."""

    judge: str
    weight: float = 1.0
    gate: tuple[Condition, ...] = ()


class Blend:
    """From the scores of a candidate (judge name -> Score) to its reward."""

    def __init__(self, terms: Iterable[Term], aggregation: Aggregation = "sum_then_normalize") -> None:
        self.terms = tuple(terms)
        self.aggregation = aggregation
        self.needed = {t.judge for t in self.terms} | {c.judge for t in self.terms for c in t.gate}

    def reward(self, scores: Mapping[str, Score]) -> float | None:
        """The weighted sum, on the judges' scales; None when a judge that it needs could not score the candidate."""
        values = self._values(scores)
        return None if values is None else math.fsum(t.weight * v for t, v in zip(self.terms, values, strict=True))

    def learned(self, group: Sequence[Mapping[str, Score] | None]) -> list[float | None]:
        """What the algorithm learns from, one per candidate of a group; None in gives None out (a masked candidate)."""
        if self.aggregation == "sum_then_normalize":
            return [None if scores is None else self.reward(scores) for scores in group]
        rows = [None if scores is None else self._values(scores) for scores in group]
        scored = [row for row in rows if row is not None]
        scales = [_mean_and_std([row[k] for row in scored]) for k in range(len(self.terms))]
        return [
            None
            if row is None
            else math.fsum(
                term.weight * (value - mean) / (std + EPSILON)
                for term, value, (mean, std) in zip(self.terms, row, scales, strict=True)
            )
            for row in rows
        ]

    def _values(self, scores: Mapping[str, Score]) -> list[float] | None:
        """Each term's value behind its gate."""
        if any(scores[name].status is not Status.SCORED for name in self.needed):
            return None
        return [
            float(scores[term.judge].value or 0.0) if all(c.holds(scores) for c in term.gate) else 0.0
            for term in self.terms
        ]


def _mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 0.0
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
