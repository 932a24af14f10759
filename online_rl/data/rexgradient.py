"""Rows of ReXGradient-160K: `metadata/{train,valid,test}_metadata_view_position.json`, each a dict by study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from online_rl.data.cells import is_missing, items
from online_rl.data.on_disk import find_images, load_json, view_rank, without_empty
from online_rl.data.rows import Row
from online_rl.errors import DataError

FOLDERS = ("", "images")
KEPT = {"Comparison": "comparison", "PatientSex": "sex", "PatientAge": "age", "StudyDate": "study_date"}


def rexgradient_rows(path: Path, image_root: Path) -> Iterator[Row]:
    """One row per study, frontal images first, in the official splits."""
    rows: list[tuple[str, str, dict[str, Any]]] = []
    for split in ("train", "valid", "test"):
        for file in _files(path, split)[:1]:
            found = load_json(file)
            if not isinstance(found, dict) or not all(isinstance(row, dict) for row in found.values()):
                raise DataError(f"{file.name}: expected a dict of studies. Is it the data set's own file?")
            rows += [(f"{file.name}: {name}", split, {"name": name, **row}) for name, row in found.items()]
    if not rows:
        raise DataError(
            f"{path}: found no metadata/train_metadata_view_position.json, expected it and those of valid and test. "
            "Set data.path to the folder that holds metadata/."
        )
    names = [_name(image) for source, _, row in rows for image in items(row.get("ImagePath"), source) if image]
    places = find_images(names, image_root, FOLDERS)
    for source, split, row in rows:
        paths, views = items(row.get("ImagePath"), source), items(row.get("ImageViewPosition"), source)
        views = [*views, *[None] * len(paths)][: len(paths)]
        pairs = sorted(zip(paths, views, strict=True), key=lambda pair: view_rank(pair[1] or ""))
        yield Row(
            source,
            {
                "study_id": _first(row, "StudyInstanceUid", "AccessionNumber", "name"),
                "patient_id": row.get("PatientID"),
                "split": split,
                "images": [places.path(_name(image)) for image, _ in pairs if image],
                "views": [view or "" for image, view in pairs if image],
                "indication": row.get("Indication"),
                "findings": row.get("Findings"),
                "impression": row.get("Impression"),
                **without_empty({ours: row.get(name) for name, ours in KEPT.items()}),
            },
        )


def _files(path: Path, split: str) -> list[Path]:
    names = (f"{split}_metadata_view_position.json", f"{split}_metadata.json")
    return [file for name in names for file in (path / "metadata" / name, path / name) if file.is_file()]


def _first(row: dict[str, Any], *names: str) -> Any:
    return next((row[name] for name in names if not is_missing(row.get(name))), None)


def _name(image: str) -> str:
    """The path without the `../` before it, which counts from the folder of the metadata."""
    while image.startswith("../"):
        image = image[3:]
    return image
