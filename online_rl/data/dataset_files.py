"""Hugging Face data sets on disk or on the hub, by the `datasets` library, and single images out of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from online_rl.data.split_words import split_named
from online_rl.errors import DataError

FILES = {".parquet": "parquet", ".json": "json", ".jsonl": "json"}


@cache
def load_splits(path: str, name: str | None) -> dict[str, Any]:
    """Split -> its Dataset. Raises DataError for what is neither on disk nor a name on the hub."""
    try:
        import datasets
    except ImportError:
        raise DataError("data.reader=hf: needs the package datasets. Install it: pip install datasets.") from None
    place = Path(path)
    try:
        if place.is_dir() and ((place / "dataset_dict.json").is_file() or (place / "state.json").is_file()):
            found = datasets.load_from_disk(path)
        elif place.is_dir():
            files = {split: [str(file) for file in named] for split, named in _by_split(place).items()}
            if not files:
                raise DataError(f"{path}: found neither a save_to_disk folder nor parquet files. Set data.path.")
            found = datasets.load_dataset("parquet", data_files=files)
        elif place.is_file():
            kind = FILES.get(place.suffix.lower())
            if kind is None:
                raise DataError(f"{path}: found a name ending in {place.suffix!r}, expected {', '.join(FILES)}.")
            found = datasets.load_dataset(kind, data_files={"train": path})
        else:  # a name on the hub
            found = datasets.load_dataset(path, name)
    except DataError:
        raise
    except Exception as problem:  # the library raises many kinds
        raise DataError(
            f"data.path: {path} cannot be read by the datasets library ({type(problem).__name__}). Is the folder "
            "whole, or the name right and the hub in reach? --debug shows the traceback."
        ) from problem
    splits = dict(found) if isinstance(found, datasets.DatasetDict) else {"train": found}
    _refuse_unknown(splits, path)
    return splits


def _by_split(folder: Path) -> dict[str, list[Path]]:
    """Parquet files by the split that their name or folder begins with. Files of no split are parts of one data set."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*.parquet")):
        words = (file.stem, file.parent.name) if file.parent != folder else (file.stem,)
        split = next(filter(None, map(split_named, words)), None)
        found.setdefault(split or _without_number(file.stem), []).append(file)
    if found and not any(map(split_named, found)):
        return {"train": [file for files in found.values() for file in files]}
    return found


def _without_number(stem: str) -> str:
    """The name of what a file is a part of: `holdout` of `holdout-00000-of-00002`."""
    return re.split(r"[-_]?\d", stem)[0] or stem


def _refuse_unknown(splits: Mapping[str, Any], path: str) -> None:
    """Raise DataError for a part that is no split's beside others, which would be trained on without a word."""
    unknown = [name for name in splits if split_named(name) is None]
    if unknown and len(splits) > 1:
        raise DataError(
            f"data.path: {path}: found a part named {unknown[0]!r} among {len(splits)}, expected names that begin with "
            "train, eval (validate, val, dev) or test. Rename it, or leave it out."
        )


def image_bytes(path: str, name: str | None, split: str, row: int, column: str, place: int) -> bytes | str:
    """One image of a data set: its encoded bytes, or a path if the data set has no bytes of it."""
    value = _undecoded(path, name, split)[row][column]
    item = value[place] if isinstance(value, list) else value
    if isinstance(item, Mapping) and "image" in item:  # verl's {"image": ...}
        item = item["image"]
    return (item.get("bytes") or item.get("path") or b"") if isinstance(item, Mapping) else item


def undecoded(dataset: Any) -> Any:
    """The same data set with its images as bytes or paths: nothing is decoded, or encoded again."""
    import datasets

    plain = datasets.Image(decode=False)
    for name, feature in dataset.features.items():
        if isinstance(feature, datasets.Image):
            dataset = dataset.cast_column(name, plain)
        elif isinstance(getattr(feature, "feature", None), datasets.Image):
            dataset = dataset.cast_column(name, type(feature)(plain))
    return dataset.with_format(None)


@cache
def _undecoded(path: str, name: str | None, split: str) -> Any:
    return undecoded(load_splits(path, name)[split])
