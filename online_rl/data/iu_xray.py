"""Rows of the Indiana University collection in the layout it is shared in: two CSV files and a folder of PNG files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from online_rl.data.csv_table import csv_rows
from online_rl.data.rows import Row
from online_rl.errors import DataError

REPORTS = "indiana_reports.csv"
PROJECTIONS = "indiana_projections.csv"
IMAGES = Path("images", "images_normalized")
NEEDED = {REPORTS: {"uid", "indication", "findings", "impression"}, PROJECTIONS: {"uid", "filename"}}


def iu_xray_rows(folder: Path) -> Iterator[Row]:
    """One row per report with its images, frontal first. The collection has one study per patient and no splits."""
    for name, needed in (
        (REPORTS, {"uid", "indication", "findings", "impression"}),
        (PROJECTIONS, {"uid", "filename"}),
    ):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: no such file. Set data.path to the folder that holds {name}.")
        first = next(csv_rows(folder / name), None)
        lacking = needed - set(first.values if first else ())
        if lacking:
            raise DataError(f"{name}: lacks the columns {', '.join(sorted(lacking))}. Is it the collection's own file?")
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
                "images": [filename for _, filename in pairs],
                "views": [view for view, _ in pairs],
                "description": row.values.get("image", ""),
            },
        )
