"""Rows of MIMIC-CXR and MIMIC-CXR-JPG, from the folders as PhysioNet gives them.

`files/p10/p10000032/s50414267/<dicom_id>.jpg` (`.dcm`, `.png`), `mimic-cxr-2.x.0-split.csv` and `-metadata.csv`
(or .gz) in the folder above `files`, and the reports, which are a download of their own (see `mimic_reports`).
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from online_rl.data.csv_table import csv_rows
from online_rl.data.mimic_reports import open_reports
from online_rl.data.mimic_sections import BY_HAND
from online_rl.data.on_disk import find_file, need_columns, view_rank
from online_rl.data.rows import LeftOut, Row
from online_rl.errors import DataError

TREES = ("", "files", "mimic-cxr-images-512/files", "*/files", "*/*/files", "*/*/*/files")
GROUP = "p1[0-9]"
IMAGES = (".jpg", ".png", ".dcm")
_NUMBER = re.compile(r"[a-z]?0*(\d+)(?:\.0+)?", re.IGNORECASE)


class _Image(NamedTuple):
    rank: int
    dicom: str
    view: str


class _Exam(NamedTuple):
    patient: str
    date: str
    images: list[_Image]


def mimic_cxr_rows(
    path: Path,
    image_root: Path,
    reports: str | None = None,
    split: str | None = None,
    metadata: str | None = None,
) -> Iterator[Row | LeftOut]:
    """One row per study, images in CheXagent's order of views, with the official split.

    reports, split, metadata  files or folders that are not where they are looked for
    """
    tree = _tree(image_root)
    above = list(dict.fromkeys([path, tree, tree.parent, tree.parent.parent, path.parent]))
    records = Path(os.path.expanduser(metadata)) if metadata else find_file(above, ["mimic-cxr-*-metadata.csv*"])
    splits = Path(os.path.expanduser(split)) if split else find_file(above, ["mimic-cxr-*-split.csv*"])
    for found, name in ((records, "metadata"), (splits, "split")):
        if found is None or not found.is_file():
            raise DataError(
                f"{found or path}: found no mimic-cxr-2.x.0-{name}.csv(.gz), expected it in the folder above files/ of "
                f"MIMIC-CXR-JPG. Put it there, or name it: data.args={{{name}: FILE}}."
            )
    assert records is not None and splits is not None
    split_of = _splits(splits)
    texts = open_reports(Path(os.path.expanduser(reports)) if reports else None, above)
    suffix, groups = None, {folder.name: set(_names(folder)) for folder in sorted(tree.glob(GROUP))}
    for study, exam in _exams(records).items():
        patient, place = f"p{exam.patient}", f"p{exam.patient[:2]}/p{exam.patient}/s{study}"
        if study not in split_of:
            yield LeftOut(place, f"not in {splits.name}")
        elif patient not in groups.get(patient[:3], ()):
            yield LeftOut(place, "the patient's folder is not on disk")
        elif study in BY_HAND:
            yield LeftOut(place, "its report needs sections by hand (54 studies)")
        elif (report := texts.sections(exam.patient, study)) is None:
            yield LeftOut(place, f"no report in {texts.name}")
        else:
            folder = tree / place
            suffix = suffix or _suffix(folder, exam)  # of the first study that has images
            images = sorted(exam.images)
            yield Row(
                place,
                {
                    "study_id": f"s{study}",
                    "patient_id": patient,
                    "split": split_of[study],
                    "images": [f"{folder}/{image.dicom}{suffix or IMAGES[0]}" for image in images],
                    "views": [image.view for image in images],
                    "indication": report.pop("indication", "") or report.get("history", ""),
                    "findings": report.pop("findings", ""),
                    "impression": report.pop("impression", ""),
                    "study_date": exam.date,
                    **report,
                },
            )


def number(cell: str) -> str:
    """An id without its letter and leading zeros: s50414267, 50414267 and 50414267.0 are one."""
    match = _NUMBER.fullmatch(cell.strip())
    return match.group(1) if match else cell.strip()


def _tree(root: Path) -> Path:
    """The folder with p10, p11, ... in which there are folders of studies, not reports alone."""
    for pattern in TREES:
        for folder in [root] if not pattern else sorted(root.glob(pattern)):
            for patient in folder.glob(f"{GROUP}/p*"):
                if any(child.is_dir() for child in patient.iterdir()):
                    return folder
    raise DataError(
        f"{root}: found no folder files/p10/p10000032/s50414267 or the like, expected the images of MIMIC-CXR(-JPG). "
        "Set data.path to the folder that holds files/, or data.image_root if images lie elsewhere."
    )


def _exams(path: Path) -> dict[str, _Exam]:
    """Study -> its patient, date and images, in the order of the metadata."""
    found: dict[str, _Exam] = {}
    for at, row in enumerate(csv_rows(path)):
        cells = row.values
        if at == 0:
            need_columns(cells, ("dicom_id", "subject_id", "study_id"), path.name)
        study, view = number(cells["study_id"]), cells.get("ViewPosition") or ""
        exam = found.get(study)
        if exam is None:
            exam = found[study] = _Exam(number(cells["subject_id"]), _date(cells), [])
        exam.images.append(_Image(view_rank(view), cells["dicom_id"].strip(), view))
    return found


def _date(cells: Mapping[str, str]) -> str:
    """StudyDate and StudyTime as text that sorts: 21800506T213014.531."""
    date, time = cells.get("StudyDate") or "", cells.get("StudyTime") or ""
    whole, point, part = time.partition(".")
    return f"{date.partition('.')[0]}T{whole.zfill(6)}{point}{part}" if date else ""


def _splits(path: Path) -> dict[str, str]:
    found: dict[str, str] = defaultdict(str)
    for at, row in enumerate(csv_rows(path)):
        if at == 0:
            need_columns(row.values, ("study_id", "split"), path.name)
        study, split = number(row.values["study_id"]), row.values["split"]
        if found.setdefault(study, split) != split:
            raise DataError(
                f"{row.source}: study s{study} is in {found[study]!r} and in {split!r}. Copy the file again."
            )
    return dict(found)


def _suffix(folder: Path, exam: _Exam) -> str | None:
    """Extension of the study's images; None if none exists."""
    there = set(_names(folder))
    return next((suffix for suffix in IMAGES if f"{exam.images[0].dicom}{suffix}" in there), None)


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []
