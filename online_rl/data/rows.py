"""From one row of a user's file to a `Study`: which columns mean what."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from judges.text import without_surrogates
from online_rl.data.dicom import dicom_refusal
from online_rl.data.study import Study
from online_rl.errors import DataError

# Compared without regard to case; where a row has several names of one line, the first in the line counts.
_TEXT_OF_EITHER = ("reference", "ground_truth", "target_text")
COLUMNS = {
    "images": ("images", "image", "image_paths", "image_path", "path_to_image", "filename", "ImagePath"),
    "views": ("views", "view", "ImageViewPosition", "ViewPosition", "frontal_lateral", "projection"),
    "findings": ("findings", "section_findings", "findings_section", *_TEXT_OF_EITHER),
    "impression": ("impression", "section_impression", "impression_section", *_TEXT_OF_EITHER),
    "indication": ("indication", "section_indication", "text"),
    "study_id": ("study_id", "study", "StudyInstanceUid", "uid", "id"),
    "patient_id": ("patient_id", "subject_id", "PatientID"),
    "split": ("split",),
}
SPLITS = {
    "train": ("train", "training"),
    "eval": ("eval", "evaluation", "validate", "validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words}


class Row(NamedTuple):
    """A raw row and where it stands, such as "studies.jsonl:17"."""

    source: str
    values: Mapping[str, Any]


def to_study(row: Row, section: str, image_root: Path) -> Study:
    """Read one row. Split is "" where the row has none; images may be empty; the reference is not yet cleaned."""
    values = {str(key): _whole(value) for key, value in row.values.items()}
    used = {role: _column(values, names) for role, names in COLUMNS.items() if role not in ("findings", "impression")}
    used["reference"] = _column(values, COLUMNS[section])
    get = {role: values.get(name) if name else None for role, name in used.items()}
    images = tuple(_image(item, image_root, row.source) for item in _listed(get["images"], row.source))
    views = tuple(str(view) for view in _listed(get["views"], row.source))
    study_id = _text(get["study_id"]).strip() or row.source
    return Study(
        study_id=study_id,
        patient_id=_text(get["patient_id"]).strip(),
        images=images,
        indication=_text(get["indication"]),
        reference=_text(get["reference"]),
        split=_split(_text(get["split"]), row.source),
        views=views if len(views) == len(images) else (),
        source=row.source,
        columns={key: value for key, value in values.items() if key not in used.values()},
    )


def has_column(values: Mapping[str, Any], role: str) -> bool:
    """Does the row have any of the names for `role`?"""
    return _column(values, COLUMNS[role]) is not None


def _column(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    by_lower = {key.strip().lower(): key for key in values}
    return next((by_lower[name.lower()] for name in names if name.lower() in by_lower), None)


def _whole(value: Any) -> Any:
    """The value without lone surrogates, which no writer could encode."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return value


def _text(value: Any) -> str:
    """Numbers as text; null, NaN and lists of nothing as the empty text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # pandas turns a column of ids into floats if one is missing
    if isinstance(value, list):
        return " ".join(_text(item) for item in value)
    return str(value)


def _listed(value: Any, source: str) -> list[str | bytes]:
    """A list, "a|b", the text of a list as pandas writes it, or the bytes of one image."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            raise DataError(f"{source}: a list of images or views is malformed, expected a|b or ['a', 'b'].") from None
    if isinstance(value, str):
        value = value.split("|")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, bytes):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str | bytes) for item in value):
        raise DataError(f"{source}: images: found {type(value).__name__}, expected a path, a|b, or a list of paths.")
    stripped = [item if isinstance(item, bytes) else item.strip() for item in value]
    return [item for item in stripped if item != ""]


def _image(item: str | bytes, image_root: Path, source: str) -> str | bytes:
    """The path under `image_root`; an image held in memory as it is."""
    return item if isinstance(item, bytes) else _image_path(item, image_root, source)


def _image_path(text: str, image_root: Path, source: str) -> str:
    if "://" in text:
        raise DataError(f"{source}: image {text}: expected a file path, found a URL. Download the images first.")
    if text.lower().endswith((".dcm", ".dicom")):
        raise DataError(dicom_refusal(f"{source}: image {text}"))
    return str(image_root / Path(text).expanduser())


def _split(text: str, source: str) -> str:
    word = text.strip().lower()
    if word and word not in _SPLIT_OF:
        raise DataError(f"{source}: split: found {text[:40]!r}, expected train, eval (validate, val, dev) or test.")
    return _SPLIT_OF.get(word, "")
