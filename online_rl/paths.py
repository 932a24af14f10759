"""Whether two paths mean the same place, so that a command never writes over what it reads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from online_rl.errors import DataError


def same_place(one: Path, other: Path) -> bool:
    """Whether both are the same file or folder: by name, through links of either kind, or on a disk that ignores case.

    Paths that do not exist yet are compared by name.
    """
    try:
        return os.path.samefile(one, other)
    except OSError:
        return _resolved(one) == _resolved(other)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether `path` is `folder` or lies in it."""
    path, folder = _resolved(path), _resolved(folder)
    places = (path, *path.parents)
    return folder in places or (folder.exists() and any(same_place(place, folder) for place in places))


def refuse_overlap(reads: Mapping[str, Path | None], writes: Mapping[str, Path | Sequence[Path] | None]) -> None:
    """Refuse a command that would write over what it reads, or write two things to one place.

    Keys are what the message calls the paths, such as --input. A command that writes several files for one option
    lists all of them. None is an option that was not given. Raises DataError, before anything is written.
    """
    sources = [(name, path) for name, path in reads.items() if path is not None]
    places = [
        (name, place)
        for name, given in writes.items()
        if given is not None
        for place in ([given] if isinstance(given, Path) else given)
    ]
    for position, (name, place) in enumerate(places):
        for source, path in sources:
            if same_place(place, path):
                raise DataError(f"{name}: {place} is what {source} reads, and would be lost. Name another {name}.")
        for other, taken in places[:position]:
            if other != name and same_place(place, taken):
                raise DataError(f"{name}: {place} is written by {other} too. Name another {name}.")


def code_file(use: str) -> Path | None:
    """The file in `path/to/file.py:object`; None for another kind of name."""
    place = use.rpartition(":")[0]
    return Path(os.path.expanduser(place)) if place.endswith(".py") else None


def _resolved(path: Path) -> Path:
    """Without links and `~`; a `~user` whom nobody knows stays as it is, where Path.expanduser would raise."""
    return Path(os.path.expanduser(path)).resolve()
