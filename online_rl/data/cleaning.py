"""Cleaning of reference reports, each step by its name in `data.clean`; nothing is cleaned that is not listed there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from judges.layout import statement_lines
from online_rl.data.comparisons import drop_comparisons

_BLANK = re.compile(r"\[\*\*.*?\*\*\]|_{2,}|\bX{3,}\b", re.DOTALL)
_BEFORE_MARK = re.compile(r"\s+([.,;:)])")
_ONLY_MARKS = re.compile(r"(?:(?<=^)|(?<=[.!?\n]))\s*[.,;:]+")
_BULLET = re.compile(r"(?:^|(?<=[.!?:;])|\n)[ \t]*(\d{1,2})[.)][ \t]+(?=\S)")
_HEADING = re.compile(r"(?m)^[ \t]*[A-Z][A-Z /,&()-]{2,}:[ \t]*")
_ADDENDUM = re.compile(r"(?:^|\n|(?<=[.*_]))[ \t*_]*(?:ADDENDUM\b|Addendum\s*(?:to|:|by|begins)).*", re.DOTALL)


def unwrap(text: str) -> str:
    """Line ends inside a sentence become blanks; those that end a list item, a heading or a paragraph stay."""
    return "\n".join(" ".join(line.split()) for line in statement_lines(text))


def deidentified(text: str) -> str:
    """Without `___`, XXXX and `[** **]`, and without the blanks and marks that they leave behind.

    >>> deidentified("Seen by Dr. ___. No effusion XXXX.")
    'Seen by Dr. No effusion.'
    """
    text = _BEFORE_MARK.sub(r"\1", re.sub(r"[ \t]{2,}", " ", _BLANK.sub("", text)))
    return _ONLY_MARKS.sub("", re.sub(r"([.!?])[.,;:]+", r"\1", text)).strip()


def numbers(text: str) -> str:
    """Without the numbers of a list that counts from 1; other numbers stay.

    >>> numbers("1. No effusion. 2. Nodule of 1.5 cm.")
    'No effusion. Nodule of 1.5 cm.'
    """
    found = list(_BULLET.finditer(text))
    if [int(match.group(1)) for match in found] != list(range(1, len(found) + 1)):
        return text
    for match in reversed(found):
        end = "" if match.start() == 0 else "\n" if text[match.start()] == "\n" else " "
        text = text[: match.start()] + end + text[match.end() :]
    return text


def headings(text: str) -> str:
    """Without headings in capitals at the beginning of a line, such as `LUNGS:`; what follows them stays."""
    return _HEADING.sub("", text)


def addenda(text: str) -> str:
    """Without an addendum, from its heading to the end of the text."""
    return _ADDENDUM.sub("", text).rstrip()


# In the order in which they are applied, whatever the order in data.clean.
STEPS: dict[str, Callable[[str], str]] = {
    "addenda": addenda,
    "headings": headings,
    "numbers": numbers,
    "unwrap": unwrap,
    "deidentified": deidentified,
    "drop_comparisons": drop_comparisons,
}


def clean_reference(text: str, steps: Sequence[str]) -> tuple[str, list[str]]:
    """The text behind these steps, and the names of those that changed it."""
    changed = []
    for name, step in STEPS.items():
        if name in steps:
            before, text = text, step(text)
            if text != before:
                changed.append(name)
    return text, changed
