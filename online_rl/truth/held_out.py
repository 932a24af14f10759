"""One evaluation, study by study, as numbers: what the alarms compare with the first one. It holds no report text."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from online_rl.truth.counts import Claims
from online_rl.truth.diversity import uniqueness
from online_rl.truth.results import Result


@dataclass(frozen=True)
class HeldOut:
    """Columns with one entry per study, in the order of the evaluation.

    key         a hash of the study ids in order: two evaluations are compared only if it is equal
    patients    a number per study, equal for studies of one patient
    rewards     None for a study that no judge could score
    counts      TP, FP, FN; None if the reference is not understood
    uniqueness  1 / number of equal reports among the compared ones: the studies with a finding, or all studies if no
                reference is understood; None for the others
    in_cluster  whether the report is of the largest group of equal ones; None as above
    claims      by the drawn labels if every study has them, else by the rules, as in `counts`; empty in a checkpoint of
                a version that did not keep them
    """

    key: str
    patients: list[int]
    rewards: list[float | None]
    counts: list[tuple[int, int, int] | None]
    uniqueness: list[float | None]
    in_cluster: list[bool | None]
    claims: list[Claims | None]

    def state_dict(self) -> dict[str, Any]:
        claims = [None if c is None else [sorted(c.said), sorted(c.true)] for c in self.claims]
        return {**asdict(self), "claims": claims}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> HeldOut:
        counts = [None if row is None else tuple(row) for row in state["counts"]]
        claims = [None if c is None else Claims(*map(frozenset, c)) for c in state.get("claims", ())]
        return cls(**{**state, "counts": counts, "claims": claims})

    @property
    def abnormal(self) -> list[int]:
        """Places of the studies whose references call something present."""
        return [i for i, row in enumerate(self.counts) if row is not None and row[0] + row[2] > 0]


def numbered(patients: Sequence[Hashable]) -> list[int]:
    """A number per study in the place of the patient's name, by first appearance.

    >>> numbered(["b", "a", "b"])
    [0, 1, 0]
    """
    number = {patient: i for i, patient in enumerate(dict.fromkeys(patients))}
    return [number[patient] for patient in patients]


def held_out(results: Sequence[Result]) -> HeldOut:
    """The columns of one evaluation, whose results come in the order of its studies."""
    understood = any(r.found is not None for r in results)
    labelled = all(r.labelled is not None for r in results)
    compared = [i for i, r in enumerate(results) if (r.found is not None and r.found.abnormal) or not understood]
    reports = [results[i].report for i in compared]
    unique = dict(zip(compared, uniqueness(reports), strict=True))
    most = Counter(reports).most_common(1)[0][0] if reports else None
    cluster = {i: report == most for i, report in zip(compared, reports, strict=True)}
    return HeldOut(
        key=hashlib.sha256("\n".join(r.study_id for r in results).encode()).hexdigest()[:16],
        patients=numbered([r.patient for r in results]),
        rewards=[r.reward for r in results],
        counts=[None if r.found is None else r.found.counts for r in results],
        uniqueness=[unique.get(i) for i in range(len(results))],
        in_cluster=[cluster.get(i) for i in range(len(results))],
        claims=[r.labelled for r in results] if labelled else [r.found for r in results],
    )
