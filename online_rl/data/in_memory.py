"""Studies handed over in Python: `Study` objects, dicts, or a `datasets.Dataset`, checked as those of a file are."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from online_rl.data.columns import IMAGES, plain_name, role_of
from online_rl.data.dataset_files import undecoded
from online_rl.data.readers import check_studies
from online_rl.data.rows import Row
from online_rl.data.studies import Studies
from online_rl.data.study import Study
from online_rl.errors import DataError

if TYPE_CHECKING:
    from online_rl.config.model import Config

EXPECTED = "a list of Study, a list of dicts, a datasets.Dataset, or what read_studies returns"


def studies_in_memory(studies: Any, cfg: Config) -> Studies:
    """Check and split `studies`; DataError names the row, studies[3], and the remedy.

    A dict has the column names of a row of JSONL. Its images are paths, encoded bytes or PIL images, one or a list;
    relative paths start at data.image_root, else at the working directory. Images of a Dataset stay encoded, and its
    paths stay paths. The `split` of a Study is kept; "" leaves it to data.eval_fraction.
    """
    if isinstance(studies, Studies):
        studies = [*studies.train, *studies.eval, *studies.test]
    images = IMAGES | {plain_name(column) for role, column in cfg.data.columns.items() if role_of(role) == ("images",)}
    rows = (_row(item, f"studies[{place}]", images) for place, item in enumerate(_items(studies)))
    return check_studies(rows, cfg, Path(cfg.data.image_root or ""), "studies")


def _items(studies: Any) -> Sequence[Any]:
    datasets = sys.modules.get("datasets")  # whoever has a Dataset has imported it
    if datasets is not None and isinstance(studies, datasets.Dataset):
        return undecoded(studies)
    if isinstance(studies, list | tuple):
        return studies
    found = type(studies).__name__
    if isinstance(studies, Mapping) and found == "DatasetDict":
        raise DataError(
            f"studies: found a DatasetDict, expected one Dataset, such as studies[{next(iter(studies))!r}]."
        )
    raise DataError(f"studies: found {found}, expected {EXPECTED}.")


def _row(item: Any, source: str, images: frozenset[str]) -> Row | Study:
    if isinstance(item, Study):
        return _study(item, source)
    if not isinstance(item, Mapping):
        raise DataError(f"{source}: found {type(item).__name__}, expected a Study or a dict.")
    values = {str(key): value for key, value in item.items()}
    for key, value in values.items():
        if plain_name(key) in images:
            values[key] = _images(value, f"{source}: {key}")
    return Row(source, values)


def _study(study: Study, source: str) -> Study:
    """The study with a name for its row and its images in the form that the trainer reads."""
    source = study.source or source
    if isinstance(study.images, str | bytes) or not isinstance(study.images, Sequence):
        raise DataError(f"{source}: images: found {type(study.images).__name__}, expected a tuple of paths or bytes.")
    for name, text in (("reference", study.reference), ("study_id", study.study_id), ("patient_id", study.patient_id)):
        if not isinstance(text, str):
            raise DataError(f"{source}: {name}: found {type(text).__name__}, expected text.")
    if study.split not in ("train", "eval", "test", ""):
        raise DataError(f"{source}: split: found {study.split!r}, expected train, eval, test, or '' to have it chosen.")
    return replace(study, images=tuple(_images(list(study.images), f"{source}: images")), source=source)


def _images(value: Any, place: str) -> Any:
    """Each image as a path or as encoded bytes; text, None and numbers are left to the rules for rows."""
    if isinstance(value, list | tuple):
        return [_image(item, f"{place}[{i}]") for i, item in enumerate(value)]
    return value if value is None or isinstance(value, str | float) else [_image(value, place)]


def _image(item: Any, place: str) -> str | bytes:
    if isinstance(item, str | bytes):
        return item
    if isinstance(item, os.PathLike):
        return str(item)
    if isinstance(item, Mapping) and ("bytes" in item or "path" in item):  # an Image of `datasets` that is not decoded
        found = item.get("bytes") or item.get("path")
        if found:
            return found
    elif type(item).__module__.startswith("PIL."):
        return _encoded(item, place)
    raise DataError(
        f"{place}: found {type(item).__name__}, expected a path, the bytes of a PNG or JPEG, or a PIL image."
    )


def _encoded(image: Any, place: str) -> bytes:
    """PNG, which loses nothing."""
    buffer = io.BytesIO()
    try:
        image.save(buffer, format="PNG")
    except (OSError, ValueError) as problem:
        raise DataError(
            f"{place}: a PIL image of mode {image.mode!r} that cannot be read or written as PNG "
            f"({type(problem).__name__}). Convert it to L or RGB, or remove the study."
        ) from None
    return buffer.getvalue()
