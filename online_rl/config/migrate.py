"""Keys of version 0.1 that were renamed or dropped in 0.2.0, and how files and checkpoints that hold them are read.

A renamed key is moved, and a note names both names. A dropped key at its default is ignored; any other value is refused
with what to do instead. The changelog prints this table (`as_markdown`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SINCE = "0.2.0"


@dataclass(frozen=True)
class Renamed:
    """A key or a whole section that stands elsewhere now."""

    old: str
    new: str
    why: str


@dataclass(frozen=True)
class Dropped:
    """A key that is gone.

    default  what it was when nobody set it
    instead  what holds now, and what to set in its place if there is anything
    free     a checkpoint with another value may be continued: what is learned did not depend on it
    """

    old: str
    default: Any
    instead: str
    free: bool = False


CHANGES: tuple[Renamed | Dropped, ...] = (
    Renamed("algorithm.online_dpo", "algorithm.preference", "IPO, SimPO, ORPO and KTO read the section as well"),
    Renamed("train.share_prompts", "debug.share_prompts", "exists for comparison: off, the same result takes longer"),
    Renamed("train.image_features_once", "debug.image_features_once", "the same"),
    Renamed("ref_model.read_ahead", "debug.read_ahead", "the same"),
    Renamed("monitor.protected", "data.confidential", "what may leave; monitor.samples alone says what is kept here"),
    Renamed("deepspeed.persistence_threshold", "debug.persistence_threshold", "set by tests and benchmarks alone"),
    Dropped(
        "data.max_eval_studies",
        128,
        "one key says how many held-out studies are kept and evaluated: set eval.studies (null = all)",
        free=True,
    ),
    Dropped("deepspeed.bucket_elements", None, "5e6 elements on CPU and 50e6 on GPUs; nobody set it"),
    Dropped(
        "rollout.kv_cache_gib",
        1.0,
        "1 GiB per rank; it was rounded to whole GiB and not read on GPUs. For more on a CPU set the environment "
        "variable VLLM_CPU_KVCACHE_SPACE",
        free=True,
    ),
    Dropped("scoring.unscorable_window", 20, "scoring.max_unscorable_rate is taken over 20 steps; nobody set it"),
)


@dataclass(frozen=True)
class Migrated:
    """A configuration under today's names.

    moved     (old name, new name) of each key that was found under an old one
    problems  a paragraph for each key that cannot be read
    """

    data: dict[str, Any]
    moved: list[tuple[str, str]]
    problems: list[str]


def rename(data: Mapping[str, Any]) -> Migrated:
    """Move renamed keys in a copy of `data`: nested dicts as YAML gives them."""
    new = Migrated(copy.deepcopy(dict(data)), [], [])
    for change in CHANGES:
        if isinstance(change, Renamed):
            found, value = _take(new.data, change.old)
            if found:
                new.moved.append((change.old, change.new))
                new.problems.extend(_put(new.data, change.new, value, change.old))
    return new


def migrate(data: Mapping[str, Any], checkpoint: bool = False) -> Migrated:
    """Move renamed keys and take out dropped ones, in a copy of `data`.

    checkpoint  `data` is what a checkpoint keeps, where nobody can correct a key: those that changed nothing learned
                are ignored whatever their value
    """
    new = rename(data)
    for change in CHANGES:
        if isinstance(change, Dropped):
            found, value = _take(new.data, change.old)
            if found and value != change.default and not (checkpoint and change.free):
                remedy = (
                    "Continue it with version 0.1 of online-rl, or choose another run.dir."
                    if checkpoint
                    else f"Remove the key; its old default, {_shown(change.default)}, is ignored."
                )
                problem = f"{change.old}: found {_shown(value)}, but the key was dropped in {SINCE}: {change.instead}."
                new.problems.append(f"{problem} {remedy}")
    return new


def new_name(name: str) -> str:
    """Today's name of a dotted key; the name itself unless it was renamed."""
    for change in CHANGES:
        if isinstance(change, Renamed) and (name == change.old or name.startswith(change.old + ".")):
            return change.new + name.removeprefix(change.old)
    return name


def moved_note(pairs: Iterable[tuple[str, str]]) -> str:
    """Name keys that were found under their old names, in one line."""
    names = ", ".join(f"{old} -> {new}" for old, new in pairs)
    return f"keys of version 0.1 were read under their names of {SINCE}: {names}."


def as_markdown() -> str:
    """The table of all changes, as the changelog prints it."""
    rows = ["| key of 0.1 | in 0.2.0 | |", "|---|---|---|"]
    for change in CHANGES:
        if isinstance(change, Renamed):
            rows.append(f"| `{change.old}` | `{change.new}` | {change.why} |")
        else:
            rows.append(f"| `{change.old}` | dropped; was {_shown(change.default)} | {change.instead} |")
    return "\n".join(rows)


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)


def _take(data: dict[str, Any], name: str) -> tuple[bool, Any]:
    """Remove the value of a dotted key: whether it was there, and what it was."""
    *parents, last = name.split(".")
    place: Any = data
    for part in parents:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        return False, None
    return True, place.pop(last)


def _put(data: dict[str, Any], name: str, value: Any, old: str) -> list[str]:
    """Set a dotted key, beside what a section of that name holds already; a problem for each value that is there."""
    section, _, last = name.rpartition(".")
    place: Any = data
    for part in section.split("."):
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
        if not isinstance(place, dict):
            return []  # no section at all; the check of types says so
    if isinstance(value, dict) and isinstance(place.get(last), dict):
        return [problem for key in value for problem in _put(data, f"{name}.{key}", value[key], f"{old}.{key}")]
    if place.get(last) is not None:
        return [f"{old}: stands beside {name}, which is its name since {SINCE}. Remove {old}."]
    place[last] = value
    return []
