"""Drawing studies for evaluation: spread over patients, and the same ones in every run of a data set.

The first rows of a file often come from a few patients, whose reports resemble each other. Here patients take turns in
an order that depends on their ids alone: everybody's first study, then everybody's second, and so on.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from online_rl.data.study import Study

DRAW = 0  # not `run.seed`: runs that differ in their seed are compared on the same studies


def draw_by_patient(studies: Sequence[Study], count: int | None = None, seed: int = DRAW) -> list[Study]:
    """Draw `count` studies (None: all), in the order of the draw.

    A smaller draw is the beginning of a larger one, and the order of `studies` does not matter. Studies without a
    patient id count as patients of their own.

    Example: patients A with studies 1, 2, 3 and B with study 4: whichever of A and B comes first, a draw of two has one
    study of each.
    """
    of_patient: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        of_patient[study.patient].append(study)
    turns: list[tuple[int, str, str, Study]] = []
    for patient, own in of_patient.items():
        own.sort(key=lambda study: _place(seed, "study", study.study_id))
        turns += [(turn, _place(seed, "patient", patient), study.study_id, study) for turn, study in enumerate(own)]
    turns.sort(key=lambda entry: entry[:3])
    return [study for *_, study in turns[:count]]


def _place(seed: int, kind: str, name: str) -> str:
    return hashlib.sha256(f"{seed}/{kind}/{name}".encode("utf-8", "surrogatepass")).hexdigest()
