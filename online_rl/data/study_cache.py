"""What was read of a data set, kept in a folder: a later start takes seconds, and ranks of one machine read once.

A file of the cache belongs to the data settings, the code that reads, and the size and time of what is read: the file
(of a published data set those beside it too), or of a folder its files and the folders two levels down, and what
data.args names. Where one of them changes, the data are read anew. Two changes go unnoticed: a report that is edited in
place deeper in a tree, and an image that goes missing, which is then set aside or refused when it is shown. The files
hold reports of patients: they are for the user's eyes alone.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock

import judges.findings
from online_rl import __version__
from online_rl.config import Config
from online_rl.data.columns import Columns
from online_rl.data.held_image import HeldImage
from online_rl.data.layouts import LAYOUTS, PYTHON
from online_rl.data.quarantine import Quarantine
from online_rl.data.studies import Studies
from online_rl.data.study import Study
from online_rl.errors import ConfigError
from online_rl.whole_file import whole_file

SPLITS = ("train", "eval", "test")
FIELDS = tuple(field.name for field in fields(Study))
DEPTH = 2  # levels of folders whose times are looked at
LOG = logging.getLogger(__name__)


def cached(
    cfg: Config, path: Path, image_root: Path, sections: tuple[str, ...], read: Callable[[], Studies]
) -> Studies:
    """What `read()` gives, from `data.study_cache` if it is there; else it is read by one process and kept.

    Not for data without a path of their own: those in memory, of the hub, or behind a reader from outside. Raises
    ConfigError for a folder that cannot be used.
    """
    folder = cfg.data.study_cache
    if folder is None or cfg.data.reader == PYTHON or ":" in cfg.data.reader or not path.exists():
        return read()
    place = _place(Path(folder), cfg, path, image_root)
    lock = FileLock(place.with_suffix(".lock"), mode=0o600)
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # a folder that is there stays as it is
        lock.acquire()
    except OSError as problem:
        raise ConfigError(
            f"data.study_cache: {place.parent} cannot be used ({problem.strerror}). Name a folder of your own, or null."
        ) from None
    try:
        found = _load(place, cfg, sections)
        if found is None:
            found = read()
            _keep(found, place)
        return found
    finally:
        lock.release()


def _place(folder: Path, cfg: Config, path: Path, image_root: Path) -> Path:
    """Where the cache of these data is, as they are now."""
    data = cfg.data.model_dump(mode="json", exclude={"study_cache", "image_cache"})
    what = _digest([os.path.abspath(path), data, cfg.eval.studies, str(image_root)])
    finds = path.is_file() and LAYOUTS[cfg.data.reader].finds  # other tables lie beside this one
    beside = sorted(other for other in path.parent.iterdir() if other.is_file()) if finds else []
    named = [Path(os.path.expanduser(value)) for value in cfg.data.args.values() if isinstance(value, str) and value]
    read = [path, *beside, *(place for place in named if place.exists())]
    as_it_is = _digest([__version__, _code(), [list(_state(place)) for place in read]])
    return Path(os.path.expanduser(folder)) / f"studies-{what}-{as_it_is}.msgpack"


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


@cache
def _code() -> str:
    """A hash of all code that reads and cleans: comparisons are dropped by the rules of the findings judge."""
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(judges.__file__).parent, Path(judges.findings.__file__).parent):
        for file in sorted(folder.glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _state(path: Path, depth: int = DEPTH) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of a file; of a folder those of its files, and the time of each folder on the way down.

    What cannot be looked at, such as a link to nothing, is left to the reader.
    """
    try:
        found = path.stat()
        entries = sorted(os.scandir(path), key=lambda entry: entry.name) if depth > 0 and path.is_dir() else []
    except OSError:
        return
    yield str(path), 0 if path.is_dir() else found.st_size, found.st_mtime_ns
    for entry in entries:
        if entry.is_dir():
            yield from _state(Path(entry.path), depth - 1)
        elif depth == DEPTH:
            yield from _state(Path(entry.path), 0)


def _load(place: Path, cfg: Config, sections: tuple[str, ...]) -> Studies | None:
    collects = gc.isenabled()
    gc.disable()  # it would look for cycles among millions of new objects, again and again: half of the time
    try:
        return _studies(msgspec.msgpack.decode(place.read_bytes()), cfg, sections)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, KeyError, TypeError) as problem:
        LOG.warning("%s cannot be used (%s); the data are read again.", place, problem)
        return None
    finally:
        if collects:
            gc.enable()


def _as_kept(found: Studies) -> dict[str, Any]:
    columns = found.columns
    return {
        **{split: [_row(study) for study in getattr(found, split)] for split in SPLITS},
        "report": found.report,
        "problems": found.quarantine.problems,
        "first": found.first,
        "doubts": found.doubts,
        "used": {role: sorted(names) for role, names in columns.used.items()} if columns else {},
        "ignored": dict(columns.ignored) if columns else {},
    }


def _studies(kept: dict[str, Any], cfg: Config, sections: tuple[str, ...]) -> Studies:
    quarantine = Quarantine(cfg.data.bad_images_budget)
    quarantine.problems.update(kept["problems"])
    used = {role: set(names) for role, names in kept["used"].items()}
    train, held_out, test = ([_study(row) for row in kept[split]] for split in SPLITS)
    columns = Columns(sections, cfg.data.columns, used, Counter(kept["ignored"]))
    doubts = tuple(kept["doubts"])
    return Studies(train, held_out, test, kept["report"], quarantine, columns, kept["first"], doubts)


def _row(study: Study) -> list[Any]:
    """The fields in their order; of the study before it likewise."""
    *fields, prior = map(study.__getattribute__, FIELDS)
    return [*fields, None if prior is None else _row(prior)]


def _study(row: list[Any]) -> Study:
    study_id, patient_id, images, indication, reference, split, views, source, columns, date, prior = row
    return Study(
        study_id,
        patient_id,
        tuple(images),
        indication,
        reference,
        split,
        tuple(views),
        source,
        columns,
        date,
        None if prior is None else _study(prior),
    )


def _images_come_back(images: Sequence[str | bytes]) -> bool:
    """Whether all are paths: images inside the data set are found by their row, and the rows may be written anew."""
    return all(isinstance(image, str) and not HeldImage.is_one(image) for image in images)


def _comes_back(value: Any) -> bool:
    """Whether a value is read as it was written."""
    if isinstance(value, list):
        return all(map(_comes_back, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _comes_back(item) for key, item in value.items())
    return value is None or isinstance(value, str | bool | float | int)


def _keep(found: Studies, place: Path) -> None:
    """Write the cache, unless the studies hold what would not come back the same, or lack images that may yet come."""
    if found.quarantine.problems:
        LOG.warning("data.study_cache: some images are missing, so these data are read at every start.")
        return
    studies = chain(found.train, found.eval, found.test)
    if not all(_images_come_back(study.images) and _comes_back(study.columns) for study in studies):
        LOG.warning(
            "data.study_cache: these data hold images, or a column of a kind that cannot be kept, so they are read at "
            "every start."
        )
        return
    try:
        with whole_file(place, private=True) as file:
            file.write_bytes(msgspec.msgpack.encode(_as_kept(found)))
    except OSError as problem:
        LOG.warning("data.study_cache: %s cannot be written (%s).", place, problem.strerror)
        return
    except (OverflowError, TypeError, ValueError) as problem:  # such as a whole number beyond 64 bits
        LOG.warning("data.study_cache: these data cannot be kept (%s), so they are read at every start.", problem)
        return
    what = place.name.rpartition("-")[0]
    for other in place.parent.glob(f"{what}-*"):  # of these data under these settings, as they were
        if other.stem != place.stem:
            with suppress(OSError):
                other.unlink()
