"""What reports call present beside what is there: pooled precision, recall and F1, silence, and each finding apart.

    precision = TP / (TP + FP)    recall = TP / (TP + FN)    F1 = 2 TP / (2 TP + FP + FN)

with TP, FP and FN summed over all studies (micro). A mean of F1 per study is another number: a silent report of a
normal study counts 1 there, so a policy that never calls anything present earns the share of normal studies.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from online_rl.truth.bootstrap import Array, f1, precision, recall

MACRO_POSITIVES = 3  # a finding enters the macro mean from this many positives on
SHOWN_POSITIVES = 25  # and is shown on its own from this many


@dataclass(frozen=True)
class Claims:
    """One study: the findings that its report calls present, and those that are there."""

    said: frozenset[str]
    true: frozenset[str]

    @property
    def counts(self) -> tuple[int, int, int]:
        """TP, FP, FN."""
        return len(self.said & self.true), len(self.said - self.true), len(self.true - self.said)

    @property
    def abnormal(self) -> bool:
        return bool(self.true)

    @property
    def silent(self) -> bool:
        return not self.said


def table(claims: Sequence[Claims]) -> Array:
    """(n, 3): TP, FP, FN of each study, as `bootstrap` takes them."""
    return np.array([c.counts for c in claims], dtype=np.float64).reshape(len(claims), 3)


def pooled(claims: Sequence[Claims]) -> dict[str, float]:
    """The figures of one evaluation by name. One that is undefined is absent: precision if nothing is called present.

    silent_on_abnormal  share of the studies with a finding whose report calls nothing present
    f1_macro            mean over findings with at least MACRO_POSITIVES positives
    f1/<finding>        findings with at least SHOWN_POSITIVES positives
    """
    if not claims:
        return {}
    sums = table(claims).sum(axis=0)
    abnormal = [c for c in claims if c.abnormal]
    each = f1_of_each(claims, MACRO_POSITIVES)
    figures = {
        "precision": float(precision(sums)),
        "recall": float(recall(sums)),
        "f1": float(f1(sums)),
        "f1_macro": sum(each.values()) / len(each) if each else math.nan,
        "none_share": _share(c.silent for c in claims),
        "none_share_reference": _share(not c.abnormal for c in claims),
        "silent_on_abnormal": _share(c.silent for c in abnormal),
        **{f"f1/{finding}": value for finding, value in f1_of_each(claims, SHOWN_POSITIVES).items()},
    }
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def f1_of_each(claims: Sequence[Claims], positives: int) -> dict[str, float]:
    """F1 of every finding that is there in at least `positives` studies, by name."""
    right, false, missing = (Counter[str]() for _ in range(3))
    for c in claims:
        right.update(c.said & c.true)
        false.update(c.said - c.true)
        missing.update(c.true - c.said)
    return {
        finding: 2 * right[finding] / (2 * right[finding] + false[finding] + missing[finding])
        for finding in sorted({*right, *missing})
        if right[finding] + missing[finding] >= positives
    }


def prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in figures.items()}


def _share(answers: Iterable[bool]) -> float:
    found = list(answers)
    return sum(found) / len(found) if found else math.nan
