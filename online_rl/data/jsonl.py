"""Rows of a JSONL file: one study per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from online_rl.data.rows import Row
from online_rl.errors import DataError


def jsonl_rows(path: Path) -> Iterator[Row]:
    """Every line that is not blank. Lines end at \\n or \\r\\n only, so U+2028 inside a report does no harm."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            source = f"{path.name}:{number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{source}: not UTF-8 (byte {error.start} of the line). Save the file as UTF-8."
                ) from None
            if not text:
                continue
            try:
                values = json.loads(text)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{source}: malformed JSON at column {error.colno} ({error.msg}), expected one object per line."
                ) from None
            except RecursionError:
                raise DataError(f"{source}: JSON nested too deeply, expected one flat object per line.") from None
            if not isinstance(values, dict):
                raise DataError(f"{source}: found {type(values).__name__}, expected one JSON object per line.")
            yield Row(source, values)
