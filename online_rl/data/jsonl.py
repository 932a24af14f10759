"""Rows of a JSONL file, one study per line, or of a JSON file that holds a list of studies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from online_rl.data.opened import text_lines
from online_rl.data.rows import Row
from online_rl.errors import DataError


def jsonl_rows(path: Path, encoding: str | None = None) -> Iterator[Row]:
    """Every line that is not blank. Lines end at \\n or \\r\\n only, so U+2028 inside a report does no harm.

    A file whose first line is no object but the beginning of a list gives the items of that list.
    """
    lines = enumerate(text_lines(path, encoding), 1)
    for number, line in lines:
        content = line.strip()
        if not content:
            continue
        source = f"{path.name}:{number}"
        if number == 1 and content in ("[", "[{"):
            yield from _items(path, "".join(chain([line], (more for _, more in lines))))
            return
        values = _loaded(content, source)
        if number == 1 and isinstance(values, list) and values and isinstance(values[0], dict):
            yield from _named(path, values)
            continue
        if not isinstance(values, dict):
            raise DataError(f"{source}: found {type(values).__name__}, expected one JSON object per line.")
        yield Row(source, values)


def _items(path: Path, content: str) -> Iterator[Row]:
    values = _loaded(content, path.name)
    if not isinstance(values, list):
        raise DataError(f"{path.name}: found {type(values).__name__}, expected a list of objects.")
    yield from _named(path, values)


def _named(path: Path, values: list[Any]) -> Iterator[Row]:
    for place, item in enumerate(values):
        if not isinstance(item, dict):
            raise DataError(f"{path.name}[{place}]: found {type(item).__name__}, expected an object.")
        yield Row(f"{path.name}[{place}]", item)


def _loaded(content: str, source: str) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        line = f" of line {error.lineno}" if error.lineno > 1 else ""
        table = any(end in source.lower() for end in (".csv", ".tsv"))
        raise DataError(
            f"{source}: malformed JSON at column {error.colno}{line} ({error.msg}), expected one object per line."
            f"{' data.reader=csv reads tables.' if table else ''}"
        ) from None
    except RecursionError:
        raise DataError(f"{source}: JSON nested too deeply, expected one flat object per line.") from None
