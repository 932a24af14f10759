"""The reference reports of a data set, read from a file: RadCliQ weighs words by how rare they are among them."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

from judges.errors import JudgeError


def read_references(path: str) -> list[str]:
    """The column `reference` of a JSONL or CSV file. Raises JudgeError with file and row."""
    file = Path(os.path.expanduser(path))
    if not file.is_file():
        raise JudgeError(f"references: no file {file} (looked from {Path.cwd()}). Correct the path.")
    rows = _csv_rows(file) if file.suffix.lower() == ".csv" else _json_rows(file)
    texts = []
    for number, row in enumerate(rows, 1):
        text = row.get("reference") if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise JudgeError(
                f"references: {file}, row {number} has no text under 'reference'; expected JSONL or CSV with that "
                "column."
            )
        texts.append(text)
    if len(set(texts)) < 2:
        raise JudgeError(
            f"references: {file} has {len(set(texts))} different report(s), expected the reports of a whole data set: "
            "in fewer than two no word is rarer than another."
        )
    return texts


def _csv_rows(file: Path) -> list[object]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        return list(csv.DictReader(lines))


def _json_rows(file: Path) -> list[object]:
    rows: list[object] = []
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), 1):  # a report may hold U+2028
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError:
                raise JudgeError(f"references: {file}, line {number} is not JSON; expected an object a line.") from None
    return rows
