"""Reading the studies that a config names: check every row, split by patient, count what is left out."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from judges.text import says_nothing
from online_rl.data.cleaning import clean_reference
from online_rl.data.columns import COLUMNS, SECTIONS, Columns
from online_rl.data.doubts import doubts
from online_rl.data.draw import draw_by_patient
from online_rl.data.held_image import HeldImage
from online_rl.data.layouts import PYTHON, Layout, not_readable
from online_rl.data.outside import layout_of
from online_rl.data.prior import with_priors
from online_rl.data.prompt import refuse_unknown_columns
from online_rl.data.quarantine import Quarantine
from online_rl.data.rows import LeftOut, Row, to_study
from online_rl.data.splits import refuse_duplicates, refuse_shared_patients, with_splits
from online_rl.data.studies import Studies
from online_rl.data.study import Study
from online_rl.data.study_cache import cached
from online_rl.data.where import select
from online_rl.errors import DataError

if TYPE_CHECKING:
    from online_rl.config.model import Config

DEMO_FILE = "studies.jsonl"
LEFT_OUT, CLEANED = "left out: ", "cleaned: "  # beginnings of names in a report


def read_studies(cfg: Config, demo_folder: Path | None = None) -> Studies:
    """Read and check all studies; DataError names the row and the remedy.

    demo_folder  where the demo world was written, for data.reader=demo
    """
    layout = layout_of(cfg.data.reader, cfg.data.args)
    path, image_root = _places(cfg, layout, demo_folder)

    def read() -> Studies:
        rows = layout.rows(path, image_root=image_root) if layout.finds else layout.rows(path)
        return check_studies(rows, cfg, image_root, str(path))

    return cached(cfg, path, image_root, sections_of(cfg.data.section), read)


def check_studies(rows: Iterable[Row | LeftOut | Study], cfg: Config, image_root: Path, origin: str) -> Studies:
    """Sort rows, or studies that were made of them, into splits as `read_studies` does; all checks hold.

    image_root  where relative image paths of rows start; a `Study` has paths that can be opened
    origin      what messages call the whole of them: a path, or `studies`
    """
    reading = _Reading(cfg, image_root, origin)
    studies = reading.complete(rows)
    counts = reading.counts
    refuse_duplicates(studies)
    studies = with_splits(studies, cfg.data.eval_fraction)
    refuse_shared_patients(studies)
    refuse_unknown_columns((cfg.data.prompt, cfg.data.system_prompt), studies)
    if cfg.data.prior != "none":
        studies = with_priors(studies)
        counts["with a prior study"] = sum(study.prior is not None for study in studies)
    said: list[str] = []
    if cfg.data.where:
        studies, said = select(studies, cfg.data.where, cfg.data.max_images, reading.leave_out)
    quarantine = Quarantine(cfg.data.bad_images_budget)
    kept: dict[str, list[Study]] = {"train": [], "eval": [], "test": []}
    limits = {"train": cfg.data.max_train_studies, "eval": cfg.eval.studies}
    held_out = draw_by_patient([study for study in studies if study.split == "eval"])
    for study in [*(study for study in studies if study.split != "eval"), *held_out]:
        limit = limits.get(study.split)
        if limit is not None and len(kept[study.split]) >= limit:
            counts[f"{study.split} studies over the limit"] += 1
        elif usable := _usable(study, cfg.data.max_images, quarantine, cfg.data.prior in ("image", "both")):
            kept[study.split].append(usable)
        else:
            reading.leave_out("bad image", study.source)
    if not kept["train"]:
        raise DataError(
            f"{origin}: no study to train on; {reading.reasons()}. Check the split column and data.eval_fraction."
        )
    places = {study.study_id: place for place, study in enumerate(studies)}
    kept["eval"].sort(key=lambda study: places[study.study_id])
    counts.update({split: len(found) for split, found in kept.items()})
    found = Studies(kept["train"], kept["eval"], kept["test"], dict(counts), quarantine, reading.columns, reading.first)
    return replace(found, doubts=(*said, *doubts(found, cfg)))


class _Reading:
    """Rows become studies, and what is left out is counted."""

    def __init__(self, cfg: Config, image_root: Path, origin: str) -> None:
        self.cfg, self.image_root, self.origin = cfg, image_root, origin
        self.columns = Columns(sections_of(cfg.data.section), cfg.data.columns)
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def complete(self, rows: Iterable[Row | LeftOut | Study]) -> list[Study]:
        """The studies with a reference and an image. Raises DataError, with the cause, if there are none."""
        studies, first_row = [], None
        for row in rows:
            self.counts["rows"] += 1
            if isinstance(row, LeftOut):
                self.leave_out(row.reason, row.source)
                continue
            if isinstance(row, Row):
                first_row = first_row or row
                study = to_study(row, self.columns, self.image_root, self.cfg.data.report_format, self.note)
            else:
                study = row
            if not study.images:
                self.leave_out("no image", study.source)
            elif says_nothing(study.reference):
                self.leave_out("no reference", study.source)
            elif self.cfg.data.clean and says_nothing((study := self._cleaned(study)).reference):
                self.leave_out("nothing left by data.clean", study.source)
            else:
                self.counts["without patient id"] += not study.patient_id
                studies.append(study)
        self.columns.count_ignored()
        self.columns.refuse_absent(self.origin)
        if not studies:
            raise self._nothing(first_row)
        return studies

    def _cleaned(self, study: Study) -> Study:
        """The study with its reference behind data.clean; each step that changed it is counted."""
        reference, changed = clean_reference(study.reference, self.cfg.data.clean)
        self.counts.update(f"{CLEANED}{name}" for name in changed)
        return replace(study, reference=reference)

    def leave_out(self, reason: str, source: str) -> None:
        """Count a study that is not used, and remember the first for each reason."""
        self.note(LEFT_OUT + reason, source)

    def note(self, reason: str, source: str) -> None:
        """Count what is not used of the data, and remember the first row for each reason."""
        self.counts[reason] += 1
        self.first.setdefault(reason, source)

    def reasons(self) -> str:
        """What was counted, in words."""
        return ", ".join(f"{name}: {count}" for name, count in self.counts.items() if count) or "the file is empty"

    def _nothing(self, row: Row | None) -> DataError:
        """Why no row is a study: the nearest cause alone."""
        total, section = self.counts["rows"], self.cfg.data.section
        if not total:
            return DataError(f"{self.origin}: none of 0 studies can be used: it holds no rows. Is it the right file?")
        for role in ("images", *self.columns.sections):
            if row is not None and role not in self.columns.used:
                present = ", ".join(list(map(str, row.values))[:30]) or "none"
                return DataError(
                    f"{row.source}: no column for {role}, expected one of {', '.join(COLUMNS[role])}; found {present}. "
                    f"Rename it, or name it: data.columns={{{role}: NAME}}."
                )
        if self.counts[LEFT_OUT + "no reference"]:
            names = sorted(name for role in self.columns.sections for name in self.columns.used.get(role, ()))
            what = section if section in SECTIONS else " and an ".join(SECTIONS)
            return DataError(
                f"{self.origin}: none of {total} studies has a {what} section with words in it (column "
                f"{' | '.join(names) or 'reference'}); {self.reasons()}. Set data.section, or name another column by "
                "data.columns."
            )
        return DataError(f"{self.origin}: no study to train on; {self.reasons()}. Check the column for images.")


def sections_of(section: str) -> tuple[str, ...]:
    """The sections that data.section names."""
    return SECTIONS if section == "both" else (section,)


def _places(cfg: Config, layout: Layout, demo_folder: Path | None) -> tuple[Path, Path]:
    """The file or folder to read, and where relative image paths start; both absolute."""
    data = cfg.data
    if data.reader == PYTHON:
        return Path(), Path()
    if data.reader == "demo":
        if demo_folder is None:
            raise DataError("data.reader=demo: the demo world is not there yet. Run `online-rl demo prepare` first.")
        path = Path(demo_folder).absolute() / DEMO_FILE
    else:
        path = Path(data.path or "")
        path = path if layout.hub and not path.exists() else path.absolute()
    if not layout.reads(path):
        raise DataError(not_readable(str(path), layout.kind))
    image_root = Path(data.image_root).absolute() if data.image_root else layout.image_root(path).absolute()
    if data.image_root and not image_root.is_dir():
        raise DataError(f"data.image_root: no folder {image_root}. Set it to where relative image paths start.")
    return path, image_root


def _usable(study: Study, max_images: int, quarantine: Quarantine, sees_prior: bool) -> Study | None:
    """The study with the images it will be shown with, or None when one is missing and the budget allows for it."""
    images = study.images[:max_images]
    prior = study.prior.images[:1] if sees_prior and study.prior is not None else ()
    for image in (*images, *prior):
        problem = _missing(image)
        if problem:
            quarantine.add(study.source, f"{study.source}: image {image!s}: {problem}")
            return None
    # Pictures and TensorBoard open images from another folder than the run started in.
    images = tuple(i if _is_here(i) or os.path.isabs(i) else os.path.abspath(i) for i in images)
    return study if images == study.images else replace(study, images=images, views=study.views[:max_images])


def _is_here(image: str | bytes) -> bool:
    """Whether an image is held in memory or in a data set, so that it has no path."""
    return isinstance(image, bytes) or HeldImage.is_one(image)


def _missing(image: str | bytes) -> str | None:
    """Only what costs nothing to find out: damaged pixels show when the image is decoded."""
    if isinstance(image, bytes):
        return None if image else "found no bytes."
    if HeldImage.is_one(image):
        return None
    try:
        found = os.stat(image)
    except (FileNotFoundError, NotADirectoryError):
        found = None
    except (OSError, ValueError):  # no permission, or a path with a NUL in it
        return "cannot be read. Check the path and its permissions."
    if found is None or not stat.S_ISREG(found.st_mode):
        return f"no such file. {_nearly(Path(image))}Set data.image_root, or remove the study."
    return None if found.st_size else "the file is empty. Copy it again, or remove the study."


def _nearly(path: Path) -> str:
    """A file beside the missing one that differs in case or extension alone."""
    try:
        near = [other.name for other in path.parent.iterdir() if other.stem.lower() == path.stem.lower()]
    except OSError:
        return ""
    return f"There is {sorted(near)[0]!r}: correct case or extension. " if near else ""
