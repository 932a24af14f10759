"""A reader from outside: a function from a path to rows, each of which is checked before anything reads it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from judges.objects import last_word, user_line
from online_rl.data.layouts import READERS, Layout
from online_rl.data.rows import LeftOut, Row
from online_rl.errors import DataError, UserError

EXPECTED = "a dict from column names to values, or a Row(source, values)"


def layout_of(use: str, args: Mapping[str, Any] | None = None) -> Layout:
    """The layout that `data.reader` names: built in, or made of a function from outside, called with `data.args`."""
    found = READERS.load(use)
    if isinstance(found, Layout):
        return replace(found, rows=partial(found.rows, **args)) if args else found
    if not callable(found):
        READERS.refuse(use, f"is of type {type(found).__name__}; expected a function from a path to rows.")
    try:
        inspect.signature(found).bind(Path(), **dict(args or {}))
    except TypeError as problem:
        READERS.refuse(use, f"cannot be called with a path and data.args={sorted(args or {})}: {problem}.")
    return Layout(partial(_checked, use, partial(found, **dict(args or {}))), either=True)


def _checked(use: str, function: Callable[[Path], Any], path: Path) -> Iterator[Row | LeftOut]:
    """Rows as `function` yields them; a dict becomes a Row that is named by its number, from 1.

    Raises DataError with the row's number. The text of an exception may quote a report, so its type and line must do.
    """
    number = 0
    try:
        rows = function(path)
        if not hasattr(rows, "__iter__"):
            raise DataError(
                f"data.reader {use!r}: returned {type(rows).__name__}; expected rows, as a generator or a list: "
                f"{EXPECTED} for each."
            )
        for number, row in enumerate(rows, 1):
            yield _row(use, number, row)
    except (UserError, KeyboardInterrupt, GeneratorExit):  # the last: whoever reads the rows has enough of them
        raise
    except BaseException as problem:
        where = f"after row {number}" if number else "before its first row"
        place = user_line(problem)
        raise DataError(
            f"data.reader {use!r}: raised {type(problem).__name__} {where}{f' ({place})' if place else ''}. "
            "Correct it; --debug shows the traceback."
        ) from problem


def _row(use: str, number: int, row: Any) -> Row | LeftOut:
    if isinstance(row, LeftOut):
        return row
    if isinstance(row, Mapping):
        row = Row(f"{last_word(use)} row {number}", row)
    if not isinstance(row, Row):
        raise DataError(f"data.reader {use!r}: row {number}: found {type(row).__name__}, expected {EXPECTED}.")
    if not isinstance(row.values, Mapping) or not isinstance(row.source, str):
        found = f"Row({type(row.source).__name__}, {type(row.values).__name__})"
        raise DataError(f"data.reader {use!r}: row {number}: found {found}, expected Row(text, dict).")
    return row
