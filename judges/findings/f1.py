"""`FindingsF1`: a reward for calling present what the reference report calls present, and for nothing else.

    value = (C + s) / (TP + s + a FP + b FN),    C = sum over TP of max(1 - credit x attribute errors, floor)

with TP true, FP false and FN missing findings, and s = `smoothing`, a = `false_weight`, b = `missing_weight`. s stands
for the work of a normal report: a normal study needs no rule of its own (1 if the candidate is silent, then
s / (s + a), s / (s + 2a), ... with each false claim), and the first true finding of a sick one is worth more than
silence without making any guess pay. Denials and comparisons earn and cost nothing here; GREEN's formula counts them.

A wrong side, zone or severity takes `credit` off a true finding, which stays whole in the denominator: otherwise it
would cost nothing in a report without other errors.

Name a finding if its chance is above p*. With S = C + s of the rest of a report that has no other errors, b = 1:

    gain if it is there  1 - S / (S + 1)        loss if it is not  1 - S / (S + a)
    p* = loss / (gain + loss)                   s = 1, a = .5:  .40, .375, .364, ... falling to 1/3

benchmarks/decision_table.py prints p* for this and for other rewards.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from judges.base import Case, Score
from judges.errors import JudgeError
from judges.findings.compare import Comparative
from judges.findings.reading import NOT_READ, CaseReader


def findings_f1(
    credit: float, right: int, false: int, missing: int, smoothing: float, false_weight: float, missing_weight: float
) -> float:
    """The formula above: `credit` is C, `right`, `false` and `missing` are TP, FP and FN.

    >>> findings_f1(credit=0.75, right=1, false=0, missing=1, smoothing=1.0, false_weight=0.5, missing_weight=1.0)
    0.5833333333333334
    """
    return (credit + smoothing) / (right + smoothing + false_weight * false + missing_weight * missing)


class FindingsF1:
    """Deterministic and without weights, for a blend with a judge that reads the whole report.

    smoothing          s; above 0. More of it makes every finding matter less
    false_weight       a, what a false finding costs beside a missing one
    missing_weight     b
    attribute_penalty  taken off a true finding for each wrong location and wrong severity
    attribute_floor    what a true finding is worth at least
    cached_references  parsed references to keep; the candidates of a group share theirs
    """

    name = "findings_f1"
    orders_canaries = False  # an empty report of a normal study is right about the findings

    def __init__(
        self,
        smoothing: float = 1.0,
        false_weight: float = 0.5,
        missing_weight: float = 1.0,
        attribute_penalty: float = 0.25,
        attribute_floor: float = 0.5,
        cached_references: int = 4096,
    ) -> None:
        for key, value in (
            ("smoothing", smoothing),
            ("false_weight", false_weight),
            ("missing_weight", missing_weight),
        ):
            if not value > 0:
                raise JudgeError(f"findings_f1: {key} is {value!r}, expected above 0.")
        for key, value in (("attribute_penalty", attribute_penalty), ("attribute_floor", attribute_floor)):
            if not 0 <= value <= 1:
                raise JudgeError(f"findings_f1: {key} is {value!r}, expected 0 to 1.")
        self.smoothing, self.false_weight, self.missing_weight = smoothing, false_weight, missing_weight
        self.attribute_penalty, self.attribute_floor = attribute_penalty, attribute_floor
        self._reader = CaseReader(cached_references)

    def score(self, cases: Sequence[Case]) -> list[Score]:
        return [self._score(case) for case in cases]

    def _score(self, case: Case) -> Score:
        started = time.perf_counter()
        read = self._reader.read(case)
        if read is None:
            return Score.unscorable(NOT_READ)
        reference, result = read
        right = [entity for entity in result.matched if reference.findings[entity].present]
        false, missing = result.errors["false_finding"], result.errors["missing_finding"]
        credit = sum(self._credit(entity, result) for entity in right)
        value = findings_f1(
            credit, len(right), len(false), len(missing), self.smoothing, self.false_weight, self.missing_weight
        )
        return Score(
            value=value,
            parts={
                "true_positives": len(right),
                "false_positives": len(false),
                "false_negatives": len(missing),
                "attribute_errors": len(result.errors["wrong_location"]) + len(result.errors["wrong_severity"]),
            },
            detail=f"right: {_listed(right)}\nfalse: {_listed(false)}\nmissing: {_listed(missing)}",
            seconds=time.perf_counter() - started,
        )

    def _credit(self, entity: str, result: Comparative) -> float:
        """What one true finding is worth, between `attribute_floor` and 1."""
        wrong = (entity in result.errors["wrong_location"]) + (entity in result.errors["wrong_severity"])
        return max(1.0 - self.attribute_penalty * wrong, self.attribute_floor)


def _listed(entities: Sequence[str]) -> str:
    return ", ".join(entities) or "none"
