"""The same report in other lay-outs: as a list, as keys and values, as a table, wrapped."""

from __future__ import annotations

import re
import textwrap

_DENIAL = re.compile(
    r"(?:there (?:is|are) )?no (?:evidence of )?((?:focal |acute )?(?:pleural effusions?|pneumothorax|consolidation))"
    r"(?: or ((?:focal |acute )?(?:pleural effusions?|pneumothorax|consolidation)))?\.?",
    re.IGNORECASE,
)


def sentences(report: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+(?=\S)", report) if re.search(r"\w", part)]


def as_list(report: str, marker: str = "- ") -> str:
    return "\n".join(marker + sentence.rstrip(".") for sentence in sentences(report))


def as_numbers(report: str) -> str:
    return "\n".join(f"{i}. {sentence}" for i, sentence in enumerate(sentences(report), 1))


def pairs(report: str) -> list[tuple[str, str]]:
    """ "No effusion or pneumothorax." becomes two keys with "None"; another sentence stands under a heading."""
    rows = []
    for sentence in sentences(report):
        denied = _DENIAL.fullmatch(sentence)
        if denied:
            rows += [(name.capitalize(), "None") for name in denied.groups() if name]
        else:
            rows.append(("Findings", sentence.rstrip(".")))
    return rows


def as_keys(report: str) -> str:
    return "\n".join(f"{key}: {value}." for key, value in pairs(report))


def as_table(report: str) -> str:
    return "\n".join(["| Item | Report |", "|---|---|", *(f"| {key} | {value} |" for key, value in pairs(report))])


def wrapped(report: str, width: int = 70) -> str:
    return "\n".join(textwrap.wrap(report, width))


LAYOUTS = {
    "plain": str,
    "list": as_list,
    "bullets": lambda report: as_list(report, "• "),
    "bare lines": lambda report: as_list(report, "").replace("\n", "\n\n"),
    "numbers": as_numbers,
    "key and value": as_keys,
    "table": as_table,
    "wrapped": wrapped,
    "lower case, wrapped": lambda report: wrapped(report.lower()),
}
