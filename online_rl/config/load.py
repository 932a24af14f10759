"""From a YAML file and dotted overrides to a `Config`, or to one message that lists everything wrong with them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from online_rl.config.messages import dotted, explain
from online_rl.config.migrate import Migrated, migrate, moved_note, new_name, rename
from online_rl.config.model import Config
from online_rl.config.rules import broken_rules
from online_rl.config.yaml_text import parse_yaml
from online_rl.errors import ConfigError
from online_rl.whole_file import whole_file

Source = str | os.PathLike[str] | Mapping[str, Any] | Config
Overrides = Sequence[str] | Mapping[str, Any]


def load_config(source: Source, overrides: Overrides = ()) -> Config:
    """Read a configuration, apply overrides and check everything. ConfigError lists all problems.

    source     the path of a YAML file; or its sections as a dict, {"train": {"max_steps": 2}}; or a `Config`
    overrides  "section.key=value" as on the command line, or {"section.key": value}
    """
    if isinstance(source, Config):
        data, origin = source.model_dump(mode="json", warnings=False), ""
    elif isinstance(source, Mapping):
        data, origin = _sections(source), ""
    elif isinstance(source, str | os.PathLike):
        data, origin = _read_file(Path(os.path.expanduser(source))), str(Path(os.path.expanduser(source)))
    else:
        raise ConfigError(
            f"config: found {type(source).__name__}, expected the path of a YAML file, a dict of sections, or a Config."
        )
    if isinstance(overrides, str):
        raise ConfigError(f"overrides: found the text {overrides!r}, expected a list, [{overrides!r}], or a dict.")
    old = rename(data)  # before the overrides, which stand above it whatever names either of them uses
    if isinstance(overrides, Mapping):
        for name, value in overrides.items():
            _set(old.data, _todays(str(name), old), _plain(value), str(name))
    else:
        for override in overrides:
            name, equals, text = override.partition("=")
            apply_override(old.data, f"{_todays(name.strip(), old)}{equals}{text}")
    config = _checked(old, origin)
    if isinstance(source, Config):
        config.remember([*source.notes, *config.notes])
    return config


def _todays(name: str, old: Migrated) -> str:
    """The new name of an override's key, noted in `old` if it is another."""
    new = new_name(name)
    old.moved.extend([(name, new)] if new != name else [])
    return new


def _read_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file (looked from {Path.cwd()}). Give the path of a YAML config.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    data = parse_yaml(text, str(path))
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: found {type(data).__name__}, expected sections such as `rollout:` with keys below.")
    return data


def _sections(given: Mapping[Any, Any]) -> dict[str, Any]:
    """A dict from Python as YAML would have given it."""
    for name in given:
        if isinstance(name, str) and "." in name:
            section, _, key = name.partition(".")
            raise ConfigError(
                f"{name}: found a dotted key in a dict, expected its section with keys below it: "
                f"{{{section!r}: {{{key!r}: ...}}}}. Dotted keys are for overrides."
            )
    return _plain(given)


def _plain(value: Any) -> Any:
    """Paths as text, tuples as lists, sections that are models as dicts; all else as it is."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", warnings=False)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set `section.key=value` in `data`; the value is YAML, a number in the key is a place in a list."""
    name, equals, text = override.partition("=")
    name = name.strip()
    if not equals or not name or not all(name.split(".")):
        raise ConfigError(f"{override!r}: expected section.key=value, such as rollout.group_size=8.")
    try:
        value = parse_yaml(text, f"the value of {name}")
    except ConfigError as problem:
        raise ConfigError(
            f"{problem} A text with a colon or with brackets needs quotes of its own inside those of the shell: "
            f"'{name}=\"...\"'."
        ) from None
    _set(data, name, value, override)


def _set(data: dict[str, Any], name: str, value: Any, shown: str) -> None:
    *parents, last = name.split(".")
    place: Any = data
    for depth, part in enumerate(parents):
        inner = _inner(place, part, name)
        if inner is None:
            inner = {}
            _put(place, part, inner, name)
        elif not isinstance(inner, dict | list):
            raise ConfigError(f"{shown!r}: {'.'.join(parents[: depth + 1])} is a value, it has no keys below it.")
        place = inner
    _put(place, last, value, name)


def config_from_dict(data: dict[str, Any], origin: str = "") -> Config:
    """Check types, names and rules; ConfigError holds one paragraph per problem. Names of version 0.1 are read too."""
    return _checked(rename(data), origin)


def _checked(renamed: Migrated, origin: str) -> Config:
    old = migrate(renamed.data)
    moved, problems = [*renamed.moved, *old.moved], [*renamed.problems, *old.problems]
    notes = [moved_note(moved)] if moved else []
    # `data:` with nothing below it means the defaults of that section.
    readable = {key: value for key, value in old.data.items() if value is not None}
    unreadable: list[str] = []
    config = None
    while config is None:
        try:
            config = Config.model_validate(readable)
        except ValidationError as error:
            # Take the unreadable keys out and continue, so that rules between the other keys are checked as well.
            found = error.errors(include_url=False)
            problems += [explain(item) for item in found]
            unreadable += [dotted(item["loc"]) for item in found]
            for item in found:
                _remove(readable, item["loc"])
    problems += broken_rules(config, tuple(unreadable))
    if problems:
        many = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        heading = f"{origin}: {many} in the configuration." if origin else f"{many} in the configuration."
        raise ConfigError("\n\n".join([heading, *problems, *(f"Note: {note}" for note in notes)]))
    config.remember(notes)
    return config


def save_resolved(cfg: Config, folder: str | Path) -> Path:
    """Write `config.resolved.yaml` into the run folder, whole or not at all."""
    folder = Path(folder)
    target = folder / "config.resolved.yaml"
    try:
        with whole_file(target) as partial:
            partial.write_text(cfg.resolved_yaml(), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"run.dir: {folder} cannot be written ({error.strerror}). Set run.dir elsewhere.") from None
    return target


def _inner(place: Any, part: str, name: str) -> Any:
    if isinstance(place, list):
        return place[_position(place, part, name)]
    return place.get(part)


def _put(place: Any, part: str, value: Any, name: str) -> None:
    if isinstance(place, list):
        place[_position(place, part, name)] = value
    else:
        place[part] = value


def _position(place: list[Any], part: str, name: str) -> int:
    if not part.isdigit() or int(part) >= len(place):
        raise ConfigError(f"{name}: found {part!r}, expected a place from 0 to {len(place) - 1} in the file's list.")
    return int(part)


def _remove(data: dict[Any, Any], loc: tuple[int | str, ...]) -> None:
    """Take the value at `loc` out of nested data; a broken entry of a list takes the whole list along."""
    for part in loc[:-1]:
        if not isinstance(data.get(part), dict):
            data.pop(part, None)
            return
        data = data[part]
    data.pop(loc[-1], None)
