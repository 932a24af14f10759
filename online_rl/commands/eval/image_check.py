"""`online-rl eval --image-check`: the same studies with other patients' images, beside what was written with the right
ones (`truth.image_check`)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from online_rl.commands.eval.rows import Row, result_from
from online_rl.data.study import Study
from online_rl.errors import DataError
from online_rl.teacher_forcing import TeacherForcing
from online_rl.truth.image_check import ImageCheck, check_images
from online_rl.truth.labels import Reader
from online_rl.truth.results import Result, result_of
from online_rl.whole_file import whole_file

IMAGE_CHECK = "image_check.json"


def check(
    rows: Sequence[Row],
    studies: Sequence[Study],
    write: Callable[[Sequence[Study]], Any],
    scorer: Any,
    at_once: int,
    reader: Reader | None,
    forcing: TeacherForcing | None = None,
) -> ImageCheck:
    """Exchange the images twice and compare.

    rows     what was written with the right images, one per study
    write    studies -> `Rollouts`
    at_once  studies that are written before they are scored
    forcing  says how likely the policy finds their references
    """
    made = ((study, result_from(row, study)) for row, study in zip(rows, studies, strict=True))
    right = {study.study_id: result for study, result in made if result is not None}

    def written(swapped: Sequence[Study]) -> dict[str, Result]:
        found: dict[str, Result] = {}
        for start in range(0, len(swapped), at_once):
            for first, *_ in scorer.score(write(swapped[start : start + at_once])).groups:
                study, text = first.completion.prompt.study, first.completion.text.strip()
                found[study.study_id] = result_of(study, text, first.reward, reader)
        return found

    return check_images(studies, right, written, forcing)


def as_dict(found: ImageCheck) -> dict[str, Any]:
    """The verdict in words, and each figure with its interval; None for one that is undefined."""
    figures = {name: getattr(found, name) for name in ("gain_f1", "gain_reward", "f1_right", "f1_wrong", "gain_logp")}
    return {
        "verdict": found.verdict(),
        "studies": found.studies,
        "left_out": found.left_out,
        **{name: figure and dataclasses.asdict(figure) for name, figure in figures.items()},
    }


def write_check(folder: Path, of: dict[str, Any], found: ImageCheck) -> None:
    try:
        with whole_file(folder / IMAGE_CHECK) as partial:
            partial.write_text(json.dumps({"of": of, **as_dict(found)}, indent=1, allow_nan=False), encoding="utf-8")
    except OSError as problem:
        raise DataError(f"{folder}: cannot be written ({problem.strerror}). Name another --output.") from None


def read_check(folder: Path, of: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """What the check found, without what it is of. None if there is none, or one of something else than `of`."""
    try:
        found = json.loads((folder / IMAGE_CHECK).read_text(encoding="utf-8"))
        was = found.pop("of")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if of is None or was == json.loads(json.dumps(of)) else None
