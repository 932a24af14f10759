"""What to say of a data set before training: roles without a column, nothing held out, ids that are nearly the same."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from online_rl.config.model import Config
    from online_rl.data.studies import Studies

_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")


def doubts(studies: Studies, cfg: Config) -> Iterator[str]:
    """A sentence or two for each doubt; none of them stops a run."""
    everyone = [*studies.train, *studies.eval, *studies.test]
    columns = studies.columns if studies.columns is not None and studies.columns.used else None
    anonymous = studies.report.get("without patient id", 0)
    if anonymous and not any(study.patient_id for study in everyone):
        yield (
            "no study has a patient id, so a split by patient is impossible: the same patient may be trained on and "
            f"evaluated on.{_hint(columns, 'patient_id')}"
        )
    elif anonymous:
        yield f"{anonymous} studies have no patient id: each counts as a patient of its own."
    if columns is not None and "split" not in columns.used and (hint := _hint(columns, "split")):
        yield f"no column for split: data.eval_fraction={cfg.data.eval_fraction:g} of the patients are held out.{hint}"
    if columns is not None and "indication" not in columns.used and "{indication" in cfg.data.prompt:
        hint = _hint(columns, "indication")
        yield f"no column for indication, which data.prompt asks for: it is missing in every prompt.{hint}"
    if not studies.eval:
        yield (
            "NO STUDY IS HELD OUT: every evaluation is of 0 studies, so nothing will show whether reports get better. "
            f"Raise data.eval_fraction (now {cfg.data.eval_fraction:g}), or give rows a split such as validate."
        )
    meet = Counter(_ZEROS.sub("", patient).lower() for patient in {study.patient_id for study in everyone})
    if close := sum(count for count in meet.values() if count > 1):
        yield f"{close} patient ids differ from another by leading zeros or case alone. Are they the same patients?"


def _hint(columns: object, role: str) -> str:
    near = columns.resembling(role) if columns is not None else None  # type: ignore[attr-defined]
    return f" Is it the column {near!r}? Then set data.columns={{{role}: {near}}}." if near else ""
