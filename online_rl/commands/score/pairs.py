"""Pairs of reports from a user's file: columns `reference`, `candidate`, optional `study_id` and `indication`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from judges.text import without_surrogates
from online_rl.data.csv_table import csv_rows
from online_rl.data.jsonl import jsonl_rows
from online_rl.data.rows import Row
from online_rl.errors import DataError

READERS = {".jsonl": jsonl_rows, ".ndjson": jsonl_rows, ".csv": csv_rows, ".tsv": csv_rows}
SHOWN_PROBLEMS = 10
OWN = ("reference", "candidate", "study_id", "indication")


@dataclass(frozen=True)
class Pair:
    """One row. `study_id` is None where the file has none; the texts are as they were written.

    columns  further columns of the row, for rewards in TRL's call form
    """

    source: str
    study_id: str | None
    reference: str
    candidate: str
    indication: str = ""
    columns: dict[str, Any] = field(default_factory=dict)


def read_pairs(path: Path) -> list[Pair]:
    """Every pair, in the order of the file. Raises DataError that names the rows that are none."""
    if not path.is_file():
        raise DataError(f"{path}: no such file (looked from {Path.cwd()}). Give the path of a JSONL or CSV file.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: found a name that ends in {path.suffix!r}, expected {', '.join(READERS)}.")
    pairs: list[Pair] = []
    problems: list[str] = []
    for row in reader(path):
        problem = _problem(row)
        if problem:
            problems.append(f"{row.source}: {problem}")
        else:
            pairs.append(_pair(row))
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        shown = [*problems[:SHOWN_PROBLEMS], *([f"and {more} more rows"] if more > 0 else [])]
        raise DataError("\n".join([*shown, "Nothing was scored. Correct or remove these rows."]))
    if not pairs:
        raise DataError(f"{path}: found no rows, expected at least one with the columns reference and candidate.")
    return pairs


def adjacent(pairs: list[Pair], size: int, whole_studies: bool) -> Iterator[range]:
    """Rows to hand over together: at most `size`, or, with `whole_studies`, all neighbours of one study at once."""
    start = 0
    while start < len(pairs):
        end = start + 1
        while end < len(pairs) and (whole_studies or end - start < size):
            same = pairs[end].study_id is not None and pairs[end].study_id == pairs[start].study_id
            if whole_studies and not same:
                break
            end += 1
        yield range(start, end)
        start = end


def _problem(row: Row) -> str | None:
    for name in ("reference", "candidate"):
        if name not in row.values:
            found = ", ".join(sorted(map(str, row.values))) or "none"
            return f"has no column {name!r}; found {without_surrogates(found)[:200]}."
        if not isinstance(row.values[name], str):
            return f"{name}: found {_kind(row.values[name])}, expected text."
    study_id = row.values.get("study_id")
    if isinstance(study_id, bool) or not isinstance(study_id, str | int | None):
        return f"study_id: found {_kind(study_id)}, expected text, a whole number, or nothing."
    return None


def _pair(row: Row) -> Pair:
    study_id = row.values.get("study_id")
    return Pair(
        source=row.source,
        study_id=without_surrogates(str(study_id)) if study_id not in (None, "") else None,
        reference=without_surrogates(row.values["reference"]),
        candidate=without_surrogates(row.values["candidate"]),
        indication=indication if isinstance(indication := row.values.get("indication"), str) else "",
        columns={str(key): value for key, value in row.values.items() if key not in OWN},
    )


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
