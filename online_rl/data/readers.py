"""Reading the studies that a config names: check every row, split by patient, count what is left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from judges.text import says_nothing
from online_rl.data.draw import draw_by_patient
from online_rl.data.layouts import PYTHON, Layout, not_readable
from online_rl.data.outside import layout_of
from online_rl.data.quarantine import Quarantine
from online_rl.data.rows import COLUMNS, Row, has_column, to_study
from online_rl.data.study import Study
from online_rl.errors import DataError

if TYPE_CHECKING:
    from online_rl.config.model import Config

DEMO_FILE = "studies.jsonl"


@dataclass(frozen=True)
class Studies:
    """What was read. `report` counts rows, studies per split, and what was left out and why.

    quarantine  knows what was set aside so far; pixels that turn out to be damaged later count in the same budget
    """

    train: list[Study]
    eval: list[Study]
    test: list[Study] = field(default_factory=list)
    report: dict[str, int] = field(default_factory=dict)
    quarantine: Quarantine = field(default_factory=lambda: Quarantine(0))


def read_studies(cfg: Config, demo_folder: Path | None = None) -> Studies:
    """Read and check all studies; DataError names the row and the remedy.

    demo_folder  where the demo world was written, for data.reader=demo
    """
    layout = layout_of(cfg.data.reader, cfg.data.args)
    path, image_root = _places(cfg, layout, demo_folder)
    return check_studies(layout.rows(path), cfg, image_root, str(path))


def check_studies(rows: Iterable[Row | Study], cfg: Config, image_root: Path, origin: str) -> Studies:
    """Sort rows, or studies that were made of them, into splits as `read_studies` does; all checks hold.

    image_root  where relative image paths of rows start; a `Study` has paths that can be opened
    origin      what messages call the whole of them: a path, or `studies`
    """
    counts: Counter[str] = Counter()
    studies = _with_reference(rows, cfg.data.section, image_root, counts)
    if not studies and counts["left out: no image"]:
        raise DataError(f"{origin}: no study to train on; {_left_out(counts)}. Check the column for images.")
    if not studies:
        raise DataError(
            f"{origin}: none of {counts['rows']} studies has a {cfg.data.section} section with words in it (column "
            f"{' | '.join(COLUMNS[cfg.data.section])}). Set data.section, or name the column so."
        )
    refuse_duplicates(studies)
    studies = with_splits(studies, cfg.data.eval_fraction)
    refuse_shared_patients(studies)
    quarantine = Quarantine(cfg.data.bad_images_budget)
    kept: dict[str, list[Study]] = {"train": [], "eval": [], "test": []}
    limits = {"train": cfg.data.max_train_studies, "eval": cfg.eval.studies}
    held_out = draw_by_patient([study for study in studies if study.split == "eval"])
    for study in [*(study for study in studies if study.split != "eval"), *held_out]:
        limit = limits.get(study.split)
        if limit is not None and len(kept[study.split]) >= limit:
            counts[f"{study.split} studies over the limit"] += 1
        elif usable := _usable(study, cfg.data.max_images, quarantine, counts):
            kept[study.split].append(usable)
    if not kept["train"]:
        raise DataError(
            f"{origin}: no study to train on; {_left_out(counts)}. Check the split column and data.eval_fraction."
        )
    places = {study.study_id: place for place, study in enumerate(studies)}
    kept["eval"].sort(key=lambda study: places[study.study_id])
    counts.update({split: len(found) for split, found in kept.items()})
    return Studies(kept["train"], kept["eval"], kept["test"], dict(counts), quarantine)


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
        return study.split or given.get(study.patient_id) or _hashed(study.patient_id or study.study_id, eval_fraction)

    return [replace(study, split=split_of(study)) for study in studies]


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


def _places(cfg: Config, layout: Layout, demo_folder: Path | None) -> tuple[Path, Path]:
    """The file or folder to read, and where relative image paths start."""
    data = cfg.data
    if data.reader == PYTHON:
        return Path(), Path()
    if data.reader == "demo":
        if demo_folder is None:
            raise DataError("data.reader=demo: the demo world is not there yet. Run `online-rl demo prepare` first.")
        path = Path(demo_folder) / DEMO_FILE
    else:
        path = Path(data.path or "")
    if not layout.reads(path):
        raise DataError(not_readable(str(path), layout.kind))
    image_root = Path(data.image_root) if data.image_root else layout.image_root(path)
    if data.image_root and not image_root.is_dir():
        raise DataError(f"data.image_root: no folder {image_root}. Set it to where relative image paths start.")
    return path, image_root


def _with_reference(rows: Iterable[Row | Study], section: str, image_root: Path, counts: Counter[str]) -> list[Study]:
    studies = []
    for row in rows:
        if counts["rows"] == 0 and isinstance(row, Row) and not has_column(row.values, "images"):
            raise DataError(f"{row.source}: no column for images, expected one of {', '.join(COLUMNS['images'])}.")
        counts["rows"] += 1
        study = row if isinstance(row, Study) else to_study(row, section, image_root)
        if says_nothing(study.reference):
            counts["left out: no reference"] += 1
        elif not study.images:
            counts["left out: no image"] += 1
        else:
            counts["without patient id"] += not study.patient_id
            studies.append(study)
    return studies


def _usable(study: Study, max_images: int, quarantine: Quarantine, counts: Counter[str]) -> Study | None:
    """The study with the images it will be shown with, or None when one is missing and the budget allows for it."""
    images = study.images[:max_images]
    for image in images:
        problem = _missing(image)
        if problem:
            quarantine.add(study.source, f"{study.source}: image {image!s}: {problem}")
            counts["left out: bad image"] += 1
            return None
    return replace(study, images=images, views=study.views[:max_images])


def _missing(image: str | bytes) -> str | None:
    """Only what costs nothing to find out: damaged pixels show when the image is decoded."""
    if isinstance(image, bytes):
        return None if image else "found no bytes."
    try:
        size = Path(image).stat().st_size if Path(image).is_file() else -1
    except (OSError, ValueError):  # no permission, or a path with a NUL in it
        return "cannot be read. Check the path and its permissions."
    if size < 0:
        return "no such file. Set data.image_root, or remove the study."
    return "the file is empty. Copy it again, or remove the study." if size == 0 else None


def _hashed(patient: str, eval_fraction: float) -> str:
    place = int.from_bytes(hashlib.sha256(patient.encode("utf-8")).digest()[:8], "big") / 2**64
    return "eval" if place < eval_fraction else "train"


def _left_out(counts: Counter[str]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items() if count) or "the file is empty"
