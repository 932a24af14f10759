"""Rows of the Indiana University collection as it is shared: two CSV files and a folder of PNG files, or R2Gen's form.

R2Gen's form is `annotation.json` with three splits and a folder per study, `images/CXR3030_IM-1405/0.png`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from online_rl.data.cells import items
from online_rl.data.csv_table import csv_rows
from online_rl.data.on_disk import find_images, load_json, need_columns
from online_rl.data.rows import Row
from online_rl.errors import DataError

REPORTS = "indiana_reports.csv"
PROJECTIONS = "indiana_projections.csv"
IMAGES = Path("images", "images_normalized")
R2GEN = "annotation.json"


def iu_xray_rows(path: Path, image_root: Path) -> Iterator[Row]:
    """One row per report with its images. The collection has one study per patient."""
    if (path / R2GEN).is_file():
        return _r2gen_rows(path / R2GEN, image_root)
    return _csv_rows(path, image_root)


def _r2gen_rows(path: Path, image_root: Path) -> Iterator[Row]:
    """Rows of R2Gen's three splits. Its reports are findings sections."""
    found = load_json(path)
    if not isinstance(found, dict) or not all(isinstance(rows, list) for rows in found.values()):
        raise DataError(f"{path.name}: expected a dict of three splits, each a list. Is it R2Gen's own file?")
    rows = [(f"{path.name}: {split}[{at}]", split, row) for split, part in found.items() for at, row in enumerate(part)]
    for source, _, row in rows:
        if not isinstance(row, dict) or not {"id", "image_path", "report"} <= row.keys():
            raise DataError(f"{source}: expected id, image_path and report. Is it R2Gen's own file?")
    names = [name for source, _, row in rows for name in items(row["image_path"], source) if name]
    places = find_images(names, image_root, ("images", "")) if names else None
    for source, split, row in rows:
        images = [places.path(name) for name in items(row["image_path"], source) if name] if places else []
        patient = str(row["id"]).partition("_")[0]
        yield Row(
            source,
            {"study_id": row["id"], "patient_id": patient, "split": split, "images": images, "findings": row["report"]},
        )


def _csv_rows(folder: Path, image_root: Path) -> Iterator[Row]:
    """One row per report with its images, frontal first. There are no splits."""
    for name, needed in (
        (REPORTS, {"uid", "indication", "findings", "impression"}),
        (PROJECTIONS, {"uid", "filename"}),
    ):
        if not (folder / name).is_file():
            raise DataError(
                f"{folder / name}: no such file. Set data.path to the folder that holds {name}, or {R2GEN}."
            )
        first = next(csv_rows(folder / name), None)
        need_columns(first.values if first else (), needed, name)
    inside = IMAGES if (image_root / IMAGES).is_dir() else Path()
    images: dict[str, list[tuple[str, str]]] = defaultdict(list)  # uid -> (view, filename)
    for row in csv_rows(folder / PROJECTIONS):
        images[row.values["uid"]].append((row.values.get("projection", ""), row.values["filename"]))
    for row in csv_rows(folder / REPORTS):
        uid = row.values["uid"]
        # Sorting is stable: within the frontal views the file's order stays.
        pairs = sorted(images[uid], key=lambda pair: pair[0].lower() != "frontal")
        others = {key: value for key, value in row.values.items() if key not in ("uid", "image")}
        yield Row(
            row.source,
            {
                **others,
                "study_id": uid,
                "patient_id": uid,
                "images": [str(inside / filename) for _, filename in pairs],
                "views": [view for view, _ in pairs],
                "description": row.values.get("image", ""),
            },
        )
