"""From one row of a user's file to a `Study`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from judges.text import says_nothing
from online_rl.data import cells
from online_rl.data.columns import COLUMNS, Columns
from online_rl.data.held_image import HeldImage
from online_rl.data.split_words import SPLIT_OF
from online_rl.data.study import Study
from online_rl.errors import DataError

__all__ = ["COLUMNS", "LeftOut", "Row", "to_study"]

_HERE = os.fspath(Path())
KEPT = ("study_date",)  # roles whose column stays among the study's own for rewards and prompts
BOTH = "FINDINGS: {findings}\nIMPRESSION: {impression}"
VIEWS_DROPPED = "views not used: another number than of images"  # in a report of what was read


class Row(NamedTuple):
    """A raw row and where it stands, such as "studies.jsonl:17"."""

    source: str
    values: Mapping[str, Any]


class LeftOut(NamedTuple):
    """What a reader gives in the place of a row for a study that cannot be used, so that it is counted."""

    source: str
    reason: str


def to_study(
    row: Row,
    columns: Columns,
    image_root: Path,
    report_format: str = BOTH,
    note: Callable[[str, str], None] = lambda reason, source: None,
) -> Study:
    """Read one row. Split is "" where the row has none; images may be empty; the reference is not yet cleaned.

    report_format  how findings and impression become one text, if `columns` has both sections
    note           called with what of the row is not used, and the row
    """
    values = {str(key): cells.whole(value) for key, value in row.values.items()}
    names = columns.of(values, row.source)

    def place(role: str) -> str:
        return f"{row.source}: {names.get(role, role)}"

    def cell(role: str) -> Any:
        name = names.get(role)
        return None if name is None else values[name]

    found = cells.items(cell("images"), place("images"))
    views = cells.views(cell("views"), place("views"), len(found))
    if len(views) == len(found):
        views = [view for view, image in zip(views, found, strict=True) if image is not None]
    images = tuple(_image(item, image_root, row.source) for item in found if item is not None)
    if images and views and len(views) != len(images):
        note(VIEWS_DROPPED, row.source)
        views = []
    used = {name for role, name in names.items() if role not in KEPT}
    return Study(
        study_id=cells.identifier(cell("study_id"), place("study_id")) or row.source,
        patient_id=cells.identifier(cell("patient_id"), place("patient_id")),
        images=images,
        indication=cells.text(cell("indication"), place("indication")),
        reference=_reference(_apart(columns.sections, names), cell, place, report_format),
        split=_split(cell("split"), row.source),
        views=tuple(views) if images else (),
        source=row.source,
        date=_date(cell("study_date"), place("study_date")),
        columns={key: value for key, value in values.items() if key not in used},
    )


def _date(value: Any, place: str) -> str:
    return cells.identifier(value, place) if isinstance(value, str | float | int | None) else str(value)


def _apart(sections: tuple[str, ...], names: Mapping[str, str]) -> tuple[str, ...]:
    """The sections that have columns of their own; one of them where a single column holds the whole report."""
    return sections if len({names.get(section) for section in sections}) == len(sections) else sections[:1]


def _reference(sections: tuple[str, ...], cell: Any, place: Any, report_format: str) -> str:
    """The one section as it is; of both the format filled in, or nothing if one of them is missing."""
    texts = {section: cells.text(cell(section), place(section)) for section in sections}
    if len(texts) == 1:
        return next(iter(texts.values()))
    if any(says_nothing(part) for part in texts.values()):
        return ""
    filled = report_format
    for section in sections:
        filled = filled.replace(f"{{{section}}}", "\0" + section)  # a text may hold the other placeholder
    for section in sections:
        filled = filled.replace("\0" + section, texts[section].strip())
    return filled


def _image(item: str | bytes, image_root: Path, source: str) -> str | bytes:
    """The path under `image_root`; an image held in memory as it is."""
    if isinstance(item, bytes) or HeldImage.is_one(item):
        return item
    if "://" in item:
        raise DataError(f"{source}: image {item}: expected a file path, found a URL. Download the images first.")
    path = os.path.expanduser(item) if item[:1] == "~" else item
    root = os.fspath(image_root)
    return path if root == _HERE else os.path.join(root, path)


def _split(value: Any, source: str) -> str:
    word = "" if cells.is_missing(value) else str(value).strip().lower()
    if word and word not in SPLIT_OF:
        raise DataError(
            f"{source}: split: found {word[:40]!r}, expected train, eval (validate, val, dev) or test. If the column "
            "is something else, name the right one by data.columns, or remove it."
        )
    return SPLIT_OF.get(word, "")
