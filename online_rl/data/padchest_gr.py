"""Rows of PadChest-GR: `grounded_reports_20240819.json`, images with their sentences, and `master_table.csv`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from online_rl.data.cells import is_missing
from online_rl.data.csv_table import csv_rows
from online_rl.data.on_disk import find_images, load_json, need_columns, need_file
from online_rl.data.rows import LeftOut, Row
from online_rl.errors import DataError

REPORTS = "grounded_reports*.json"
TABLE = "master_table*.csv*"
FOLDERS = (
    *("PadChest_GR", "Padchest_GR_files/PadChest_GR", "PadChest_GR_Images", "PadChest_GR_files/PadChest_GR", "images"),
    "",
)
LANGUAGES = ("en", "es")


def padchest_gr_rows(path: Path, image_root: Path, language: str = "en") -> Iterator[Row | LeftOut]:
    """One row per study: its report is the sentences of `language`, joined. Patient and split are the table's."""
    if language not in LANGUAGES:
        raise DataError(f"data.args.language: found {language!r}, expected one of {', '.join(LANGUAGES)}.")
    folder = path if path.is_dir() else path.parent
    file = need_file(path, [REPORTS, f"*/{REPORTS}"], "grounded reports")
    table = need_file(folder, [TABLE, f"*/{TABLE}"], "table of patients and splits")
    listed: dict[str, dict[str, str]] = {}  # a study has as many rows in the table as labels
    for at, row in enumerate(csv_rows(table)):
        if at == 0:
            need_columns(row.values, ("StudyID", "PatientID", "ImageID", "split"), table.name)
        listed.setdefault(row.values["StudyID"].strip(), dict(row.values))
    studies: dict[str, list[dict[str, Any]]] = {}
    for place, item in enumerate(load_json(file)):
        if not isinstance(item, dict) or is_missing(item.get("StudyID")) or is_missing(item.get("ImageID")):
            raise DataError(f"{file.name}[{place}]: has no StudyID or ImageID. Is it the data set's own file?")
        studies.setdefault(str(item["StudyID"]), []).append(item)
    names = [str(item["ImageID"]) for items in studies.values() for item in items]
    places = find_images(names, image_root, FOLDERS) if names else None
    for study, images in studies.items():
        source = f"{file.name}: {study}"
        known = listed.get(study)
        if known is None or places is None:
            yield LeftOut(source, f"not in {table.name}")
            continue
        sentences = [_sentence(finding, language) for finding in images[0].get("findings") or []]
        yield Row(
            source,
            {
                "study_id": study,
                "patient_id": known["PatientID"],
                "split": known["split"],
                "images": [places.path(str(image["ImageID"])) for image in images],
                "findings": " ".join(filter(None, sentences)),
            },
        )


def _sentence(finding: Any, language: str) -> str:
    text = finding.get(f"sentence_{language}") if isinstance(finding, dict) else None
    return "" if is_missing(text) else str(text).strip()
