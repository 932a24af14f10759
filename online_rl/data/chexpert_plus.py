"""Rows of CheXpert Plus: a table in which every row is an image, and the images as JPEG, PNG or DICOM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from online_rl.data.cells import is_missing
from online_rl.data.csv_table import csv_rows
from online_rl.data.on_disk import find_images, need_columns, need_file, view_rank, without_empty
from online_rl.data.rows import Row
from online_rl.errors import DataError

TABLE = "df_chexpert_plus*.csv*"
FOLDERS = ("", "PNG", "PNG/PNG", "images", "chexpertplus", "CheXpert-v1.0", "DICOM")
INDICATION = ("section_clinical_history", "section_history")
TEXTS = ("findings", "impression", "comparison", "technique")
KEPT = ("age", "sex", "race")


def chexpert_plus_rows(path: Path, image_root: Path) -> Iterator[Row]:
    """One row per study, `patientX/studyY` of the path, frontal images first. The split is the path's own."""
    table = need_file(path, [TABLE], "table of CheXpert Plus")
    studies: dict[str, list[tuple[int, str, str, str]]] = {}  # study -> (rank, path, view, path of its DICOM)
    rows: dict[str, Row] = {}
    for at, row in enumerate(csv_rows(table)):
        if at == 0:
            need_columns(row.values, ("path_to_image", "section_findings", "section_impression"), table.name)
        name = row.values["path_to_image"].strip()
        study = str(PurePosixPath(name).parent)
        if len(PurePosixPath(study).parts) < 2:
            raise DataError(f"{row.source}: path_to_image: found {name!r}, expected train/patient1/study1/view1.jpg.")
        view = _view(row.values)
        studies.setdefault(study, []).append((view_rank(view), name, view, row.values.get("path_to_dcm") or ""))
        rows.setdefault(study, row)
    if not rows:
        return
    names = [image[1] for images in studies.values() for image in images]
    dicom = [image[3] or image[1] for images in studies.values() for image in images]
    try:
        places, in_dicom = find_images(names, image_root, FOLDERS, (None, ".png", ".jpg")), False
    except DataError:
        if dicom == names:
            raise
        places, in_dicom = find_images(dicom, image_root, FOLDERS), True
    for study, images in studies.items():
        images.sort(key=lambda image: image[0])
        yield Row(
            rows[study].source,
            _values(study, rows[study].values, [places.path(i[3] if in_dicom else i[1]) for i in images], images),
        )


def _values(study: str, cells: Any, paths: list[str], images: list[tuple[int, str, str, str]]) -> dict[str, Any]:
    *_, patient, exam = PurePosixPath(study).parts
    found = {name: cells.get(f"section_{name}", "") for name in TEXTS}
    asked = (cells.get(name, "") for name in INDICATION)
    return {
        "study_id": f"{patient}/{exam}",
        "patient_id": patient,
        "images": paths,
        "views": [image[2] for image in images],
        "indication": next((text for text in asked if not is_missing(text)), ""),
        "findings": found.pop("findings"),
        "impression": found.pop("impression"),
        "study_date": cells.get("patient_report_date_order", ""),
        "split": cells.get("split") or PurePosixPath(study).parts[-3:][0],
        **without_empty(found | {name: cells.get(name, "") for name in KEPT}),
    }


def _view(cells: Any) -> str:
    """PA or AP of a frontal image, else Lateral or Frontal as the table says."""
    exact = cells.get("ap_pa") or ""
    return exact if not is_missing(exact) else cells.get("frontal_lateral") or ""
