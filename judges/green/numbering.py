"""Items that are numbered on the line of their count, so that a count of 1 may be the first of a list."""

from __future__ import annotations

import re

# Words that a number belongs to: "Now 2. before 1" and "stage 2. No edema" begin no second item.
_BELONGS_TO = frozenset(
    (
        *("a", "about", "after", "and", "at", "before", "by", "from", "grade", "image", "in", "is", "level", "lower"),
        *("less", "more", "no", "now", "number", "of", "on", "or", "previously", "rib", "series", "stage", "than"),
        *("the", "to", "type", "under", "until", "was", "were", "with"),
    )
)
_MARK = re.compile(r"(?:^|(?<=[\s;,]))(?P<number>[1-9][0-9]?)(?:[.):](?![0-9])|\s[-–—]\s)")
_WORD_BEFORE = re.compile(r"(?P<word>[^\W\d_]+)\s+$")


def numbered_to(count: int, items: str) -> int | None:
    """The number of items by their own numbering, None if they have none.

    count  the number in front of `items`, which may itself be the first item's

    >>> numbered_to(1, "No effusion. 2. Normal heart. 3. PICC line.")
    3
    >>> numbered_to(2, "1) No effusion; 2) Normal heart.")
    2
    >>> numbered_to(1, "Now 2. before 1.")
    """
    marks = [int(mark["number"]) for mark in _MARK.finditer(items) if _begins_an_item(items[: mark.start()])]
    first = _MARK.match(items)
    if first and int(first["number"]) == 1:
        return _last_in_order(marks, 0)
    last = _last_in_order(marks, count)
    return last if last > count > 0 else None


def _begins_an_item(before: str) -> bool:
    word = _WORD_BEFORE.search(before)
    return word is None or word["word"].lower() not in _BELONGS_TO


def _last_in_order(marks: list[int], last: int) -> int:
    """The end of the run last + 1, last + 2, ... in `marks`; other numbers between them are passed over."""
    for mark in marks:
        if mark == last + 1:
            last = mark
    return last
