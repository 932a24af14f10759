"""What runs were trained with: the facts of one, and where the configurations of several differ."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from online_rl.config import Config, load_config
from online_rl.errors import ConfigError
from online_rl.monitor.records import Record
from online_rl.monitor.summary import is_supervised
from online_rl.pictures.final_table import table_rows

# What makes one reward another.
OF_THE_REWARD = ("judges", "scoring.multi_objective_aggregation", "scoring.truncated")
UNLIKE_BY_NATURE = ("run.dir", "resume")
NONE = "\N{EM DASH}"


def config_of(run_dir: Path) -> Config | None:
    """The configuration that the run was trained with; None if it is missing or of another version."""
    try:
        return load_config(run_dir / "config.resolved.yaml", ["resume=never"])
    except ConfigError:
        return None


def facts(run_dir: Path, records: list[Record]) -> list[tuple[str, str]]:
    """(what, value) for a reader who has never seen the run: policy, data, judges, steps, date."""
    times = [time for record in records if isinstance(time := record.get("time"), int | float)]
    days = (
        sorted({datetime.datetime.fromtimestamp(time).date().isoformat() for time in (min(times), max(times))})
        if times
        else []
    )
    cfg = config_of(run_dir)
    found = []
    if cfg is not None:
        lines = dict(line.split(maxsplit=1) for line in cfg.summary().splitlines())
        names = {"policy": "policy", "data": "data", "judges": "reward", "guards": "guards", "rollout": "each step"}
        if any(map(is_supervised, records)):
            names = {"policy": "policy", "data": "data"}
            about = f"{cfg.rollout.studies_per_step} reference reports per step, {cfg.train.lr_schedule}"
            lines["learning"] = f"supervised, {about}, learning rate {cfg.train.learning_rate:g}"
        found = [(name, lines[key]) for key, name in names.items() if key in lines]
        found.append(("learning", lines["learning"]))
        found.append(("steps", f"{max((r['step'] for r in records), default=0)} of {cfg.train.max_steps}"))
    return [*found, *([("trained on", " to ".join(days))] if days else [])]


def differences(configs: Mapping[str, Config | None]) -> list[tuple[str, list[str]]]:
    """(key, value in each run) of every key that is not the same in all; a run without a configuration has none."""
    flat = {name: dict(_flat("", cfg.model_dump(mode="json"))) if cfg else {} for name, cfg in configs.items()}
    keys = dict.fromkeys(key for values in flat.values() for key in values if key not in UNLIKE_BY_NATURE)
    rows = [(key, [str(values.get(key, NONE)) for values in flat.values()]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def rewards_differ(rows: list[tuple[str, list[str]]]) -> list[str]:
    """The keys among `differences` that make the rewards of the runs different numbers."""
    return [key for key, _ in rows if key.startswith(OF_THE_REWARD)]


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, inner)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for place, inner in enumerate(value):
            yield from _flat(f"{prefix}[{place}]", inner)
    else:
        yield prefix, value


def both_tables(evals: Mapping[str, list[Record]]) -> list[list[str]]:
    """Rows of one table of all runs, the head first: what an evaluation measures, per run before and after training."""
    columns: dict[str, dict[str, tuple[float, float]]] = {}
    for name, records in evals.items():
        first, last = (records[0], records[-1]) if len(records) > 1 else ({}, {})
        numbers = ({key: v for key, v in r.items() if isinstance(v, int | float)} for r in (first, last))
        columns[name] = {label: (old, new) for label, old, new in table_rows(*numbers)}
    labels = list(dict.fromkeys(label for found in columns.values() for label in found))
    head = ["", *(f"{name}, {when}" for name in columns for when in ("before", "after"))]
    rows = []
    for label in labels:
        cells = [columns[name].get(label) for name in columns]
        rows.append([label, *(f"{value:.3f}" if cell else NONE for cell in cells for value in (cell or (0.0, 0.0)))])
    return [head, *rows] if rows else []


def as_text(rows: list[list[str]]) -> str:
    """The table for a terminal, its columns in line."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for first, *rest in rows:
        cells = (f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))
        lines.append("  ".join([f"{first:{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)


def comparison_notes(configs: Mapping[str, Config | None], evals: Mapping[str, list[Record]]) -> list[str]:
    """What to know when runs are compared: whether their rewards can be, their numbers, their settings."""
    rows = differences(configs)
    notes = []
    if other := rewards_differ(rows):
        shown = ", ".join(other[:4]) + (", ..." if len(other) > 4 else "")
        notes.append(
            f"the runs have different rewards ({shown}), so their reward curves are numbers of two kinds. Compare what "
            "no reward pays for: findings F1, recall, distinct reports, or `online-rl eval A --against B`."
        )
    if table := both_tables(evals):
        notes.append(f"held-out studies, greedy reports\n{as_text(table)}")
    if rows:
        notes.append("where the configurations differ\n" + as_text([["", *configs], *([key, *v] for key, v in rows)]))
    return notes
