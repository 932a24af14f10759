"""Rows of Hugging Face data sets: `save_to_disk` folders, parquet, JSON, or names on the hub.

Columns as trainers write them are understood: verl's `reward_model.ground_truth`, ms-swift's `messages` and LLaVA's
`conversations`, whose last answer is the reference report. Images inside the data set stay there until they are shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from online_rl.data.cells import is_missing
from online_rl.data.columns import IMAGES, plain_name
from online_rl.data.dataset_files import load_splits
from online_rl.data.held_image import HeldImage
from online_rl.data.rows import Row
from online_rl.data.split_words import split_named

ANSWERS = {"assistant", "gpt", "model"}
_PLACEHOLDER = re.compile(r"<image>\s*|\s*<image>")


def hub_rows(path: Path, image_root: Path, name: str | None = None) -> Iterator[Row]:
    """Every row of every split, lazily. The split is the row's own column, else the data set's part.

    A data set of one part that is called train, or nothing in particular, says nothing of splits.

    name  of the configuration, for data sets on the hub that have several
    """
    parts = load_splits(str(path), name)
    undivided = len(parts) == 1 and split_named(next(iter(parts))) in (None, "train")
    for split, data in parts.items():
        held, texts = _image_columns(data), data
        if held:
            texts = data.remove_columns(list(held))
        for at, values in enumerate(texts):
            values = plain_row(dict(values))
            for column, lengths in held.items():
                values[column] = [HeldImage.at(str(path), name, split, at, column, i) for i in range(lengths[at])]
            own = any(plain_name(key) == "split" and not is_missing(values[key]) for key in values)
            if not own and not undivided:
                values["split"] = split_named(split)
            yield Row(f"{split}[{at}]", values)


def plain_row(values: dict[str, Any]) -> dict[str, Any]:
    """The row with the reference report and paths of images where readers look for them."""
    judged = values.get("reward_model")
    if isinstance(judged, Mapping) and "ground_truth" in judged:
        values["ground_truth"] = judged["ground_truth"]
    for column, who, what in (("messages", "role", "content"), ("conversations", "from", "value")):
        turns = values.get(column)
        if isinstance(turns, list) and all(isinstance(turn, Mapping) for turn in turns) and turns:
            answers = [turn.get(what) for turn in turns if turn.get(who) in ANSWERS]
            asked = [turn.get(what) for turn in turns if turn.get(who) in ("user", "human")]
            values.setdefault("reference", answers[-1] if answers else None)
            if asked and isinstance(asked[-1], str):
                values.setdefault("question", _PLACEHOLDER.sub("", asked[-1]))
            del values[column]
    images = values.get("images")
    if isinstance(images, list) and any(isinstance(item, Mapping) for item in images):
        values["images"] = [
            item.get("image") or item.get("path") if isinstance(item, Mapping) else item for item in images
        ]
    return values


def _image_columns(data: Any) -> dict[str, list[int]]:
    """Columns with images inside the data set, whatever they are called -> how many each row has."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = {}
    for column in data.column_names:
        values = data.with_format("arrow")[:][column] if data._indices is not None else data.data.column(column)
        listed = pa.types.is_list(values.type) or pa.types.is_large_list(values.type)
        inner = values.type.value_type if listed else values.type
        if pa.types.is_struct(inner) and "image" in [field.name for field in inner]:  # verl's {"image": ...}
            inner = inner.field("image").type
        has_bytes = pa.types.is_struct(inner) and "bytes" in [field.name for field in inner]
        if not has_bytes and not (plain_name(column) in IMAGES and pa.types.is_binary(inner)):
            continue
        counts = pc.list_value_length(values) if listed else pc.cast(pc.is_valid(values), pa.int32())
        found[column] = [count or 0 for count in counts.to_pylist()]
    return found
