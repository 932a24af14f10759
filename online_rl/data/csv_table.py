"""Rows of a CSV (or .tsv) file with a header."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from online_rl.data.rows import Row
from online_rl.errors import DataError

LONGEST_FIELD = 10_000_000  # characters; the csv module's own limit would refuse long reports


def csv_rows(path: Path) -> Iterator[Row]:
    """Every record, named by the line of the file on which it starts."""
    csv.field_size_limit(LONGEST_FIELD)
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            header = next(reader, [])
            twice = [name for name, count in Counter(header).items() if count > 1]
            if not header or twice:
                found = f"column {twice[0]!r} twice" if twice else "no header"
                raise DataError(f"{path.name}:1: found {found}, expected one name per column.")
            line = reader.line_num + 1
            for fields in reader:
                if fields and len(fields) != len(header):
                    raise DataError(
                        f"{path.name}:{line}: found {len(fields)} fields, expected {len(header)} as in the header. "
                        "Is a quote or a comma missing?"
                    )
                if fields:
                    yield Row(f"{path.name}:{line}", dict(zip(header, fields, strict=True)))
                line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path.name}:{line}: malformed CSV ({error}).") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: not UTF-8 (near line {line}: {error.reason}). Save the file as UTF-8.") from None
