"""Rows of a CSV file with a header, whatever divides its columns."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from online_rl.data.opened import text_lines
from online_rl.data.rows import Row
from online_rl.errors import DataError

LONGEST_FIELD = 10_000_000  # characters; the csv module's own limit would refuse long reports
DELIMITERS = ",;\t|"
_ENDS = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's own first line


def csv_rows(path: Path, encoding: str | None = None) -> Iterator[Row]:
    """Every record, named by the line of the file on which it starts.

    The delimiter is the one of `DELIMITERS` that gives the header the most names; a first line `sep=;` says it.
    """
    csv.field_size_limit(LONGEST_FIELD)
    lines = _lines(path, encoding)
    first, skipped = next(lines, ""), 0
    if said := _SEP.fullmatch(first):
        first, skipped = next(lines, ""), 1
    delimiter = said.group(1) if said else _delimiter(first)
    line = 1 + skipped
    try:
        reader = csv.reader(_chained(first, lines), delimiter=delimiter, strict=True)
        header = next(reader, [])
        if not "".join(header).strip():
            raise DataError(f"{path.name}:{line}: found no header: the file is empty. Expected one name per column.")
        twice = [name for name, count in Counter(header).items() if count > 1]
        if twice:
            raise DataError(f"{path.name}:{line}: found column {twice[0]!r} twice, expected one name per column.")
        line = reader.line_num + 1 + skipped
        for fields in reader:
            if fields and len(fields) != len(header):
                raise DataError(
                    f"{path.name}:{line}: found {len(fields)} fields, expected {len(header)} as in the header, which "
                    f"is divided at {delimiter!r}. Is a quote or a {delimiter!r} missing?"
                )
            if fields:
                yield Row(f"{path.name}:{line}", dict(zip(header, fields, strict=True)))
            line = reader.line_num + 1 + skipped
    except csv.Error as error:
        hint = " data.reader=jsonl reads JSON." if ".json" in path.name.lower() else ""
        raise DataError(f"{path.name}:{line}: malformed CSV ({error}).{hint}") from None


def _delimiter(header: str) -> str:
    """The first of those that divide the header into the most names."""

    def names(mark: str) -> int:
        try:
            return len(next(csv.reader([header], delimiter=mark), []))
        except csv.Error:
            return 0

    return max(DELIMITERS, key=names)


def _lines(path: Path, encoding: str | None) -> Iterator[str]:
    """Lines as the csv module wants them: \\r alone ends one, too."""
    for line in text_lines(path, encoding):
        if "\r" in line[:-2]:
            yield from _ENDS.findall(line)
        else:
            yield line


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest
