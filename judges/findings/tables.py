"""Tables: rows whose columns mean something become lines "key: value"."""

from __future__ import annotations

import re

from judges.findings.entities import word_set
from judges.findings.tokens import Kind, sentences, tokenise

_BAR = re.compile("[|│¦]")
_BORDER = re.compile(r"[\s|│¦+:=─┼├┤-]*")
_ANSWERS = word_set("yes|no|present|absent|positive|negative")
_SIDES = word_set("left|right|bilateral|l|r")
_TICKS = word_set("x|yes|y|+|1|✓|✔|☒|☑|true")
_BLANK = frozenset(["", "-", "–", "—", "n/a"])


def rows_to_lines(lines: list[str]) -> list[str]:
    """`lines` with each table whose first row names sides, answers or findings turned into "key: value"."""
    if not any(_BAR.search(line) for line in lines):
        return lines
    out: list[str] = []
    rows: list[list[str]] = []
    for line in [*lines, ""]:
        if _BAR.search(line):
            if not _BORDER.fullmatch(line):
                rows.append([cell.strip() for cell in _BAR.split(line.strip().strip("|│¦"))])
        elif not _BORDER.fullmatch(line) or not line:
            out += _table(rows)
            rows = []
            out += [line] if line else []
    return out


def _table(rows: list[list[str]]) -> list[str]:
    if len(rows) < 2:
        return [" | ".join(row) for row in rows]
    head = [cell.lower() for cell in rows[0]]
    if not _names(head[0]) and _ANSWERS.union(_SIDES).intersection(head[1:]):
        return [line for row in rows[1:] for line in _by_column(head, row)]
    if all(map(_names, head)) and not any(_names(cell) for row in rows[1:] for cell in row):
        return [f"{key}: {cell}" for row in rows[1:] for key, cell in zip(head, row) if cell]  # noqa: B905
    return [" | ".join(row) for row in rows]


def _by_column(head: list[str], row: list[str]) -> list[str]:
    """ "Effusion | small | none" under "Finding | Left | Right" is two statements."""
    lines, rest = [], ""
    for title, cell in zip(head[1:], row[1:]):  # noqa: B905 - short rows are common
        if cell.lower() in _BLANK:
            continue
        ticked = cell.lower() in _TICKS
        if title in _SIDES:
            lines.append(f"{row[0]}: {title}" if ticked else f"{row[0]}: {title} {cell}")
        elif title in _ANSWERS:
            lines.append(f"{row[0]}: {title}" if ticked else f"{row[0]}: {cell}")
        else:
            rest += f" {cell}"
    return [line + rest for line in lines] or [f"{row[0]}:{rest}"]


def _names(cell: str) -> bool:
    return any(token.kind in (Kind.ENTITY, Kind.STRUCTURE) for words in sentences(cell) for token in tokenise(words))
