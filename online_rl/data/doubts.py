"""What to say of a data set before training: roles without a column, nothing held out, no priors, ids that resemble."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from online_rl.data.prior import moment

if TYPE_CHECKING:
    from online_rl.config.model import Config
    from online_rl.data.studies import Studies
    from online_rl.data.study import Study

FEWEST = 20  # characters of a reference report for it not to be in an indication by chance, as "Normal." may be
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
    if told := [study for study in everyone if _tells_the_report(study)]:
        used = sorted(columns.used.get("indication", ())) if columns is not None else []
        yield (
            f"{len(told)} studies have an indication that holds their whole reference report (first: "
            f"{told[0].source}), so a prompt with {{indication}} tells what should be written. Expected why the exam "
            f"was ordered{f', found in the column {used[0]!r}' if used else ''}. Name another by "
            "data.columns={indication: NAME}."
        )
    yield from _of_priors(everyone, cfg.data.prior, columns)
    if not studies.eval:
        yield (
            "NO STUDY IS HELD OUT: every evaluation is of 0 studies, so nothing will show whether reports get better. "
            f"Raise data.eval_fraction (now {cfg.data.eval_fraction:g}), or give rows a split such as validate."
        )
    meet = Counter(_ZEROS.sub("", patient).lower() for patient in {study.patient_id for study in everyone})
    if close := sum(count for count in meet.values() if count > 1):
        yield f"{close} patient ids differ from another by leading zeros or case alone. Are they the same patients?"


def _tells_the_report(study: Study) -> bool:
    indication = " ".join(study.indication.lower().split())
    if len(indication) < FEWEST:
        return False
    reference = " ".join(study.reference.lower().split())
    return len(reference) >= FEWEST and reference in indication


def _of_priors(everyone: Sequence[Study], prior: str, columns: object) -> Iterator[str]:
    """Dates that cannot be read, and no prior at all where data.prior asks for them."""
    if prior == "none":
        return
    unread = [study for study in everyone if study.date and moment(study.date) is None]
    if unread:
        yield (
            f"data.prior={prior}: the dates of {len(unread)} studies cannot be read (first: {unread[0].source}), "
            "expected 21800506, 2180-05-06, with or without a time, or an order such as 2. They have no prior, and are "
            "none. Write them so."
        )
    if not any(study.prior is not None for study in everyone):
        dated = sum(bool(study.date) for study in everyone)
        yield (
            f"data.prior={prior}: no study has a prior, so every prompt is without one: found {dated} dates and "
            f"{sum(bool(study.patient_id) for study in everyone)} patient ids for {len(everyone)} studies, expected "
            f"two exams of a patient in a split at different times.{'' if dated else _hint(columns, 'study_date')}"
        )


def _hint(columns: object, role: str) -> str:
    near = columns.resembling(role) if columns is not None else None  # type: ignore[attr-defined]
    return f" Is it the column {near!r}? Then set data.columns={{{role}: {near}}}." if near else ""
