"""The layouts of data on disk, by the name that `data.reader` gives. A new reader is a file, and its line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from judges.objects import Kind
from online_rl.data.chexpert_plus import chexpert_plus_rows
from online_rl.data.csv_table import csv_rows
from online_rl.data.iu_xray import iu_xray_rows
from online_rl.data.jsonl import jsonl_rows
from online_rl.data.mimic_cxr import mimic_cxr_rows
from online_rl.data.openi_xml import openi_xml_rows
from online_rl.data.padchest_gr import padchest_gr_rows
from online_rl.data.rexgradient import rexgradient_rows
from online_rl.data.rexrank import rexrank_rows
from online_rl.data.rows import LeftOut, Row
from online_rl.errors import ConfigError, DataError

EITHER = "file or folder"
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")  # owner/name on the Hugging Face hub


@dataclass(frozen=True)
class Layout:
    """How to read what `data.path` names.

    rows    yields its rows, each with the place where it stands; takes the path, and `args` by name
    images  where in `data.path`, a folder, relative image paths start; None = it is a file, and they start beside it
    hub     `data.path` may also be a name on the Hugging Face hub
    finds   `rows` takes `image_root`, too, and looks for the images in it
    args    what data.args may hold for a built-in reader
    either  a reader from outside: `data.path` may be a file or a folder, inside which relative image paths start
    """

    rows: Callable[..., Iterator[Row | LeftOut]]
    images: Path | None = None
    args: tuple[str, ...] = ()
    either: bool = False
    finds: bool = False
    hub: bool = False

    @property
    def kind(self) -> str:
        if self.hub:
            return "file, a folder, or owner/name on the hub"
        if self.either:
            return EITHER
        return "file" if self.images is None else "folder"

    def reads(self, path: Path) -> bool:
        """Whether `path` is there, and of the kind that is read; a name on the hub is there as far as one can tell."""
        if self.hub and not path.exists():
            return HUB_NAME.fullmatch(str(path)) is not None
        if self.either:
            return path.exists()
        return path.is_file() if self.images is None else path.is_dir()

    def image_root(self, path: Path) -> Path:
        """Folder that relative image paths start from, unless `data.image_root` is set."""
        if self.images is not None:
            return path / self.images
        return path if path.is_dir() else path.parent


PYTHON = "python"  # the studies were given to online_rl.train


def _not_here(path: Path) -> Iterator[Row]:
    raise DataError(
        "data.reader: found python, which stands for studies that were given to online_rl.train(..., studies=...). "
        "Give them again there, or set data.reader and data.path to a file."
    )


def _hub_rows(path: Path, **options: Any) -> Iterator[Row]:
    from online_rl.data.hub import hub_rows

    yield from hub_rows(path, **options)


def _tree(rows: Callable[..., Iterator[Row | LeftOut]], *args: str) -> Layout:
    """A published data set: a folder, or the file in it that lists the studies."""
    return Layout(rows, args=args, either=True, finds=True)


LAYOUTS = {
    "demo": Layout(jsonl_rows),
    "jsonl": Layout(jsonl_rows, args=("encoding",)),
    "csv": Layout(csv_rows, args=("encoding",)),
    "mimic_cxr": Layout(mimic_cxr_rows, images=Path(), args=("reports", "split", "metadata"), finds=True),
    "chexpert_plus": _tree(chexpert_plus_rows),
    "rexgradient": Layout(rexgradient_rows, images=Path(), finds=True),
    "padchest_gr": _tree(padchest_gr_rows, "language"),
    "openi_xml": Layout(openi_xml_rows, images=Path(), finds=True),
    "iu_xray": Layout(iu_xray_rows, images=Path(), finds=True),
    "rexrank": Layout(rexrank_rows, finds=True),
    "hf": Layout(_hub_rows, args=("name",), either=True, finds=True, hub=True),
    PYTHON: Layout(_not_here),
}
READERS = Kind("data.reader", LAYOUTS, "online_rl.readers", ConfigError)


def kind_of(reader: str) -> str:
    """What `data.path` is for this reader, in a word or three. Imports nothing from outside."""
    return LAYOUTS[reader].kind if reader in LAYOUTS else EITHER


def not_readable(path: str, kind: str) -> str:
    """What is wrong with `data.path` if a reader of this kind cannot read it, with the remedy."""
    folder, expected = Path(path), f"expected a {kind}"
    if not folder.exists():
        return f"data.path: {path} is not there, {expected} (looked from {Path.cwd()}). Set data.path."
    if folder.is_file():
        remedy = "Name the folder that it lies in, or another reader."
        return f"data.path: found {path!r}, which is a file, {expected}. {remedy}"
    names = sorted(p.name for p in folder.iterdir())
    if "dataset_info.json" in names or "dataset_dict.json" in names:
        return (
            f"data.path: found {path!r}, a folder that datasets' save_to_disk wrote, {expected}. Set "
            "data.reader=hf, or in Python: online_rl.train(..., studies=datasets.load_from_disk(PATH))."
        )
    tables = [name for name in names if name.endswith((".jsonl", ".csv"))]
    hint = f"Set data.path to one of its files{f', such as {tables[0]}' if tables else ''}."
    return f"data.path: found {path!r}, which is a folder, {expected}. {hint}"
