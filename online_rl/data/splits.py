"""Splits: given by the data or by the hash of the patient, with every patient on one side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from online_rl.data.study import Study
from online_rl.errors import DataError


def refuse_duplicates(studies: Iterable[Study]) -> None:
    """A study id stands once; two rows with one id would be two groups that are one."""
    seen: dict[str, Study] = {}
    for study in studies:
        first = seen.setdefault(study.study_id, study)
        if first is not study:
            raise DataError(
                f"{first.source} and {study.source}: the same study id twice. Remove one, or put all images of a study "
                "into one row (a|b, or a list)."
            )


def with_splits(studies: list[Study], eval_fraction: float) -> list[Study]:
    """Give every study a split. Rows without one follow their patient's other rows, else the hash of the patient.

    A patient is held out when the first 8 bytes of sha256(patient_id), as a part of 2**64, lie below `eval_fraction`:
    the same patient falls on the same side in every file, run and machine, and a larger fraction keeps those held out
    before. Rows without a patient count as patients of their own.
    """
    given = {study.patient_id: study.split for study in studies if study.split and study.patient_id}

    def split_of(study: Study) -> str:
        return given.get(study.patient_id) or _hashed(study.patient_id or study.study_id, eval_fraction)

    return [study if study.split else replace(study, split=split_of(study)) for study in studies]


def refuse_shared_patients(studies: Iterable[Study]) -> None:
    """No patient stands in two splits. Rows are named, patients are not."""
    first: dict[str, Study] = {}
    leaks: dict[str, str] = {}
    for study in studies:
        other = first.setdefault(study.patient_id, study) if study.patient_id else study
        if other.split != study.split:
            leaks.setdefault(study.patient_id, f"{other.source} ({other.split}) and {study.source} ({study.split})")
    if leaks:
        many = "1 patient stands" if len(leaks) == 1 else f"{len(leaks)} patients stand"
        raise DataError(
            f"{many} in more than one split: {'; '.join(list(leaks.values())[:3])}{'; ...' if len(leaks) > 3 else ''}. "
            "Split by patient, or remove the split column to have data.eval_fraction do it."
        )


def _hashed(patient: str, eval_fraction: float) -> str:
    place = int.from_bytes(hashlib.sha256(patient.encode("utf-8")).digest()[:8], "big") / 2**64
    return "eval" if place < eval_fraction else "train"
