"""Rows of a ReXrank file (`data/*` of rajpurkarlab/ReXrank): a dict by study with context, sections and image paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from online_rl.data.cells import is_missing, items
from online_rl.data.on_disk import find_images, load_json, without_empty
from online_rl.data.rows import Row
from online_rl.errors import DataError

FOLDERS = ("", "files", "images", "deid_png")
_CONTEXT = re.compile(
    r"(Age|Gender|Indication|Comparison|History)\s*:\s*(.*?)(?=\s*(?:Age|Gender|Indication|Comparison|History)\s*:|$)",
    re.S,
)
_PATIENT = re.compile(r"(?:^|/)(p\d{8}|patient\d+)/")


def rexrank_rows(path: Path, image_root: Path) -> Iterator[Row]:
    """One row per study, its key image first. The patient is read off the paths of MIMIC-CXR and CheXpert."""
    found = load_json(path)
    if not isinstance(found, dict) or not all(isinstance(row, dict) for row in found.values()):
        raise DataError(f"{path.name}: expected a dict of studies. Is it a file of ReXrank's data folder?")
    rows = [(f"{path.name}: {study}", study, row) for study, row in found.items()]
    names = [name for source, _, row in rows for name in _images(row, source)]
    places = find_images(names, image_root, FOLDERS, (None, ".jpg", ".png")) if names else None
    for source, study, row in rows:
        images = _images(row, source)
        context = {key.lower(): text.strip() for key, text in _CONTEXT.findall(_text(row.get("context")))}
        patient = _PATIENT.search(images[0]) if images else None
        yield Row(
            source,
            {
                "study_id": study,
                "patient_id": patient.group(1) if patient else None,
                "split": row.get("split"),
                "images": [places.path(name) for name in images] if places else [],
                "indication": context.pop("indication", "") or context.pop("history", ""),
                "findings": row.get("section_findings"),
                **without_empty({"impression": row.get("section_impression"), **context}),
            },
        )


def _images(row: dict[str, Any], source: str) -> list[str]:
    """Paths without the slash before them, the key image first."""
    names = [name.lstrip("/") for name in items(row.get("image_path"), source) if name]
    key = _text(row.get("key_image_path")).lstrip("/")
    return sorted(names, key=lambda name: name != key)


def _text(value: Any) -> str:
    return "" if is_missing(value) else str(value)
