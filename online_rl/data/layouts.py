"""The layouts of data on disk, by the name that `data.reader` gives. A new reader is a file, and its line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from online_rl.data.csv_table import csv_rows
from online_rl.data.iu_xray import IMAGES, iu_xray_rows
from online_rl.data.jsonl import jsonl_rows
from online_rl.data.rows import Row
from online_rl.errors import DataError


@dataclass(frozen=True)
class Layout:
    """How to read what `data.path` names.

    rows    yields its rows, each with the place where it stands
    images  where in `data.path`, a folder, relative image paths start; None = it is a file, and they start beside it
    """

    rows: Callable[[Path], Iterator[Row]]
    images: Path | None = None

    @property
    def kind(self) -> str:
        return "file" if self.images is None else "folder"


PYTHON = "python"  # the studies were given to online_rl.train


def _not_here(path: Path) -> Iterator[Row]:
    raise DataError(
        "data.reader: found python, which stands for studies that were given to online_rl.train(..., studies=...). "
        "Give them again there, or set data.reader and data.path to a file."
    )


LAYOUTS = {
    "demo": Layout(jsonl_rows),
    "jsonl": Layout(jsonl_rows),
    "csv": Layout(csv_rows),
    "iu_xray": Layout(iu_xray_rows, images=IMAGES),
    PYTHON: Layout(_not_here),
}
