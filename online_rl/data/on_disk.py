"""What readers of published data sets share: finding files by pattern and images by trial, and the order of views."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from online_rl.data.cells import is_missing
from online_rl.data.opened import open_bytes
from online_rl.errors import DataError

TRIED = 40  # image paths that are looked up to find out where images lie

# The order in which CheXagent shows views; what is not here comes last. Compared in capitals.
VIEWS = (
    *("PA", "AP", "LATERAL", "LL", "AP AXIAL", "AP LLD", "AP RLD", "PA RLD", "PA LLD", "LAO", "RAO", "LPO"),
    *("XTABLE LATERAL", "SWIMMERS", ""),
)
_RANK = {view: rank for rank, view in enumerate(VIEWS)}
_SPELT = {"FRONTAL": "PA", "POSTERO_ANTERIOR": "PA", "ANTERO_POSTERIOR": "AP", "L": "LATERAL"}


class Places(NamedTuple):
    """Location of a data set's images: paths are prefixed with `folder`, and take `suffix` unless it is None."""

    folder: str
    suffix: str | None

    def path(self, name: str) -> str:
        """The path under the image root, or absolute, of an image that the data set calls `name`."""
        path = Path(self.folder, name)
        return str(path if self.suffix is None else path.with_suffix(self.suffix))


def view_rank(view: str) -> int:
    """Place of a view in `VIEWS`; sorting by it is stable, so equal views keep the file's order."""
    plain = view.strip().upper()
    return _RANK.get(_SPELT.get(plain, plain), len(VIEWS))


def find_file(folders: Iterable[Path], patterns: Sequence[str]) -> Path | None:
    """The file that matches the first pattern which has any, in the first such folder; of several, the last by name."""
    for folder in folders:
        for pattern in patterns:
            found = sorted(path for path in folder.glob(pattern) if path.is_file())
            if found:
                return found[-1]
    return None


def need_file(path: Path, patterns: Sequence[str], what: str) -> Path:
    """`path` if it is a file, else the file in it. Raises DataError that names what is looked for."""
    found = path if path.is_file() else find_file([path], patterns)
    if found is None:
        raise DataError(
            f"{path}: found no {what}, expected {' or '.join(patterns)}. Set data.path to the folder that holds it, or "
            "to the file."
        )
    return found


def find_images(
    names: Sequence[str], root: Path, folders: Sequence[str], suffixes: Sequence[str | None] = (None,)
) -> Places:
    """Find the location that most images have, by trying `TRIED` of them. Raises DataError if none is found.

    names     as the data set writes them
    folders   to try under `root`, the likeliest first
    suffixes  to try in the place of their own, None being their own
    """
    step = max(1, len(names) // TRIED)
    sample = names[::step][:TRIED]
    tried = [Places(folder, suffix) for suffix in suffixes for folder in folders]
    counts = [sum((root / place.path(name)).is_file() for name in sample) for place in tried]
    best = max(range(len(tried)), key=lambda i: counts[i], default=None)
    if best is None or (sample and counts[best] == 0):
        where = " and ".join(dict.fromkeys(str(root / folder) for folder in folders))
        raise DataError(
            f"{sample[0] if sample else root}: none of {len(sample)} images is on disk, looked in {where} for names "
            f"ending in {', '.join(suffix or Path(sample[0]).suffix for suffix in suffixes)}. Set data.image_root to "
            "the folder in which these paths start."
        )
    return tried[best]


def load_json(path: Path) -> Any:
    """The whole of a JSON file, bare NaN included. Raises DataError with the place where it is malformed."""
    with open_bytes(path) as file:
        content = file.read()
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: not UTF-8 (byte {error.start}). Copy it again.") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path.name}: malformed JSON at line {error.lineno}, column {error.colno} ({error.msg}). Copy it again."
        ) from None


def need_columns(values: Iterable[str], needed: Iterable[str], name: str) -> None:
    """Raise DataError if a file lacks columns that the data set has."""
    lacking = sorted(set(needed) - set(values))
    if lacking:
        raise DataError(f"{name}: lacks the columns {', '.join(lacking)}. Is it the data set's own file?")


def without_empty(values: dict[str, Any]) -> dict[str, Any]:
    """The row without missing cells, which cost memory in hundreds of thousands of rows."""
    return {key: value for key, value in values.items() if not is_missing(value)}
