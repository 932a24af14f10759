"""One evaluation, study by study, as numbers: what the alarms compare with the first one. It holds no report text."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from online_rl.truth.counts import Claims
from online_rl.truth.diversity import same_report, uniqueness


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
    """

    key: str
    patients: list[int]
    rewards: list[float | None]
    counts: list[tuple[int, int, int] | None]
    uniqueness: list[float | None]
    in_cluster: list[bool | None]

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> HeldOut:
        counts = [None if row is None else tuple(row) for row in state["counts"]]
        return cls(**{**state, "counts": counts})

    @property
    def abnormal(self) -> list[int]:
        """Places of the studies whose references call something present."""
        return [i for i, row in enumerate(self.counts) if row is not None and row[0] + row[2] > 0]


def held_out(
    study_ids: Sequence[str],
    patients: Sequence[str],
    reports: Sequence[str],
    rewards: Sequence[float | None],
    claims: Sequence[Claims | None],
) -> HeldOut:
    """All arguments have one entry per study, in the same order."""
    number = {patient: i for i, patient in enumerate(dict.fromkeys(patients))}
    understood = any(c is not None for c in claims)
    compared = [i for i, c in enumerate(claims) if (c is not None and c.abnormal) or not understood]
    texts = [same_report(reports[i]) for i in compared]
    unique = dict(zip(compared, uniqueness(texts), strict=True))
    most = Counter(texts).most_common(1)[0][0] if texts else None
    cluster = {i: text == most for i, text in zip(compared, texts, strict=True)}
    return HeldOut(
        key=hashlib.sha256("\n".join(study_ids).encode()).hexdigest()[:16],
        patients=[number[patient] for patient in patients],
        rewards=list(rewards),
        counts=[None if c is None else c.counts for c in claims],
        uniqueness=[unique.get(i) for i in range(len(study_ids))],
        in_cluster=[cluster.get(i) for i in range(len(study_ids))],
    )
