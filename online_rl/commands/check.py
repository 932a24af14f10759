"""`online-rl config check`: files, folders and objects that a configuration names and that are not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from judges.registry import GIVEN, JUDGES
from online_rl.config.algorithm import ALGORITHMS
from online_rl.data.layouts import LAYOUTS, PYTHON, READERS, kind_of, not_readable
from online_rl.demo.shipped import NAMES as DEMO_POLICIES
from online_rl.errors import ConfigError
from online_rl.policy.folder import refuse_broken_weights, refuse_no_model

if TYPE_CHECKING:
    from online_rl.config.model import Config


def missing_places(cfg: Config) -> list[str]:
    """One paragraph for everything that is named and not there. Nothing is imported, no network is asked."""
    return list(_missing(cfg))


def _missing(cfg: Config) -> Iterator[str]:
    for key, entries in (("judges", cfg.judges), ("guards", cfg.guards)):
        for i, entry in enumerate(entries):
            if entry.use.rpartition(":")[0] == GIVEN:
                yield (
                    f"{key}[{i}].use: found {entry.use!r}, which was given to online_rl.train in Python. Name a judge, "
                    "or give it again there."
                )
            elif problem := JUDGES.missing(entry.use):
                yield f"{key}[{i}].use: {problem}"
    for kind, use in ((ALGORITHMS, cfg.algorithm.name), (READERS, cfg.data.reader)):
        if problem := kind.missing(use):
            yield problem
    yield from _missing_data(cfg)
    for key, path in (("model.path", cfg.model.path), ("ref_model.path", cfg.ref_model.path)):
        if path is not None and path not in DEMO_POLICIES:
            try:
                refuse_no_model(path, key)
                refuse_broken_weights(path, key)
            except ConfigError as problem:
                yield str(problem)


def _missing_data(cfg: Config) -> Iterator[str]:
    data = cfg.data
    if data.path is not None:
        path = Path(data.path)
        there = LAYOUTS[data.reader].reads(path) if data.reader in LAYOUTS else path.exists()
        if not there:
            yield not_readable(data.path, kind_of(data.reader))
    if data.reader == PYTHON:
        yield "data.reader: found python, studies that were given to online_rl.train. Give them again there."
    for key, folder in (("data.image_root", data.image_root), ("demo.reports", cfg.demo.reports)):
        if folder is not None and not Path(folder).is_dir():
            yield f"{key}: found {folder!r}, expected a folder that is there (looked from {Path.cwd()}). Correct it."
