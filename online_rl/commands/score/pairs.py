"""Pairs of reports from a user's file: columns `reference`, `candidate`, optional `study_id` and `indication`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from judges.text import without_surrogates
from online_rl.data import cells
from online_rl.data.columns import plain_name
from online_rl.data.csv_table import csv_rows
from online_rl.data.jsonl import jsonl_rows
from online_rl.data.rows import Row
from online_rl.errors import DataError

READERS = {".jsonl": jsonl_rows, ".ndjson": jsonl_rows, ".json": jsonl_rows, ".csv": csv_rows, ".tsv": csv_rows}
PACKED = (".gz", ".bz2", ".xz")
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


def read_pairs(
    path: Path,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    needed: Sequence[str] = ("reference", "candidate"),
) -> list[Pair]:
    """Every pair, in the order of the file. Raises DataError that names the rows that are none.

    columns   one of `OWN` -> the column's name in the file
    encoding  None = by the BOM, else UTF-8
    needed    columns of text that every row must have; without "candidate", it is empty if a row has none
    """
    columns = dict(columns or {})
    for word in columns:
        if word not in OWN:
            raise DataError(f"--columns: found {word!r}, expected one of {', '.join(OWN)} before the =.")
    if not path.is_file():
        raise DataError(f"{path}: no such file (looked from {Path.cwd()}). Give the path of a JSONL or CSV file.")
    name = path.with_suffix("") if path.suffix.lower() in PACKED else path
    reader = READERS.get(name.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: found a name that ends in {name.suffix!r}, expected {', '.join(READERS)}, with or without "
            f"{', '.join(PACKED)}."
        )
    pairs: list[Pair] = []
    problems: list[tuple[str, str]] = []  # a row's place, and what is wrong with it
    for row in reader(path, encoding):
        row = _with_own_names(row, columns)
        problem = _problem(row, reader is csv_rows, needed)
        if problem:
            problems.append((row.source, problem))
        else:
            pairs.append(_pair(row))
    if problems:
        told = _told(problems, len(problems) + len(pairs))
        raise DataError("\n".join([*told, "Nothing was scored. Correct or remove these rows."]))
    if not pairs:
        raise DataError(f"{path}: found no rows, expected at least one with {_columns(needed)}.")
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


def _with_own_names(row: Row, columns: Mapping[str, str]) -> Row:
    """The row with the names of `OWN`, whatever their case, and with those that `columns` gives."""
    names = {name: own for own, name in columns.items()}
    values = {}
    for key, value in row.values.items():
        plain = plain_name(str(key))
        own = names.get(key) or (plain if plain in OWN and plain not in columns else key)
        if own in values and own in OWN:
            raise DataError(f"{row.source}: found two columns for {own}, expected one. Name it: --columns {own}=NAME.")
        values[own] = value
    return Row(row.source, values)


def _columns(needed: Sequence[str]) -> str:
    return f"the columns {' and '.join(needed)}" if len(needed) > 1 else f"the column {needed[0]}"


def _problem(row: Row, in_table: bool, needed: Sequence[str]) -> str | None:
    """What is wrong with the row, without a word of its reports; None if nothing is."""
    for name in needed:
        if name not in row.values:
            found = ", ".join(sorted(map(str, row.values))) or "none"
            return f"has no column {name!r}; found {without_surrogates(found)[:200]}. Name it: --columns {name}=NAME."
        if not isinstance(row.values[name], str):
            return f"{name}: found {_kind(row.values[name])}, expected text."
    candidate = row.values["candidate"] if "candidate" in needed else ""
    if in_table and candidate and cells.is_missing(candidate):  # JSON has null for it, and a policy may write "None"
        return f"candidate: found {candidate.strip()!r}, which stands for a missing cell, expected a report."
    study_id = row.values.get("study_id")
    if not cells.is_missing(study_id) and (isinstance(study_id, bool) or not isinstance(study_id, str | int | float)):
        return f"study_id: found {_kind(study_id)}, expected text, a whole number, or nothing."
    return None


def _told(problems: Sequence[tuple[str, str]], rows: int) -> list[str]:
    """A line per row and its problem, as far as they are shown; one for all rows if it is the same in every one."""
    source, problem = problems[0]
    if len(problems) == rows > 1 and all(other == problem for _, other in problems):
        return [f"{source}: {problem} It is the same in all {rows} rows."]
    lines = [f"{source}: {problem}" for source, problem in problems[:SHOWN_PROBLEMS]]
    more = len(problems) - SHOWN_PROBLEMS
    return [*lines, *([f"and {more} more rows"] if more > 0 else [])]


def _pair(row: Row) -> Pair:
    reference, indication = row.values["reference"], row.values.get("indication")
    return Pair(
        source=row.source,
        study_id=cells.identifier(row.values.get("study_id"), f"{row.source}: study_id") or None,
        reference="" if cells.is_missing(reference) else without_surrogates(reference),
        candidate=without_surrogates(row.values.get("candidate") or ""),
        indication=indication if isinstance(indication, str) and not cells.is_missing(indication) else "",
        columns={str(key): value for key, value in row.values.items() if key not in OWN},
    )


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
