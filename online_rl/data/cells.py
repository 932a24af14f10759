"""What one cell of a user's file means: missing, text, an id, or a list. All readers and `online-rl score` ask here."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

from judges.text import without_surrogates
from online_rl.errors import DataError

# What pandas, R, Excel and databases write for nothing, in lower case.
MISSING = frozenset({"", "nan", "-nan", "none", "null", "n/a", "na", "<na>", "nat", "#n/a", "#na", "#null!"})
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".tif", ".tiff")
LONGEST_MISSING = max(map(len, MISSING))

_WHOLE = re.compile(r"(\d+)\.0+")
_ROUNDED = re.compile(r"\d([.,]\d+)?e\+\d+", re.IGNORECASE)  # as Excel and pandas write it; 1e234567 may be a hash
_EXACT = 2**53  # from here on a float leaves whole numbers out
_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ITEM = re.compile(rf"\s*({_QUOTED}|None|none|null|nan|NaN)\s*(,|(?=['\"])|\s(?=[nN])|$)", re.DOTALL)
LIST_FORMS = "a|b, [\"a\", \"b\"], or ['a' 'b']"


def is_missing(value: Any) -> bool:
    """Whether the whole cell stands for nothing: null, NaN, blank, or a word of `MISSING` in any case."""
    if isinstance(value, str):
        text = value.strip()
        return len(text) <= LONGEST_MISSING and text.lower() in MISSING
    if value is None:
        return True
    if isinstance(value, Real):
        return math.isnan(value)
    return isinstance(value, list | tuple) and not len(value)


def text(value: Any, place: str) -> str:
    """The cell as text; a list of texts is joined by blanks; missing ones are empty.

    Raises DataError for anything else: the text of a dict or a number is not a report.
    """
    if isinstance(value, str):
        return "" if is_missing(value) else without_surrogates(value)
    if is_missing(value):
        return ""
    if isinstance(value, list | tuple):
        return " ".join(filter(None, (text(item, place) for item in value)))
    raise DataError(
        f"{place}: found {_kind(value)}, expected text. Make it one text, or name another column by data.columns."
    )


def identifier(value: Any, place: str) -> str:
    """The cell as an id: `10000032`, `10000032.0` and `"10000032.0"` are one, as pandas makes floats of a column.

    Raises DataError for a number in scientific notation or a float too large to hold every digit, and for anything but
    text and numbers.
    """
    if is_missing(value):
        return ""
    if isinstance(value, str):
        word = without_surrogates(value).strip()
        if not word[0].isdigit():
            return word
        if whole := _WHOLE.fullmatch(word):
            _refuse_rounded(float(whole.group(1)), place)
            return whole.group(1)
        if _ROUNDED.fullmatch(word):
            raise DataError(
                f"{place}: found a number in scientific notation, which has lost digits, expected the whole id. "
                "Write the column as text when the file is saved."
            )
        return word
    if isinstance(value, bool) or not isinstance(value, Real):
        raise DataError(f"{place}: found {_kind(value)}, expected an id: text or a whole number.")
    if isinstance(value, Integral):
        return str(int(value))
    number = float(value)
    _refuse_rounded(number, place)
    return str(int(number)) if number.is_integer() else str(number)


def _refuse_rounded(number: float, place: str) -> None:
    """Raise DataError for what was a float, and is so large that its last digits may be others than the id's."""
    if abs(number) >= _EXACT:
        raise DataError(
            f"{place}: found a float of 16 digits or more, which is rounded, expected the whole id. Write the column "
            "as text or whole numbers when the file is saved."
        )


def items(value: Any, place: str) -> list[Any]:
    """The items of a cell that lists images or views, missing ones as None, so that two lists stay in step.

    A list, `a|b`, the text of a list as JSON, Python or NumPy writes it, `a.png;b.png` or `a.png,b.png` if every part
    is named as an image is, or one item. Raises DataError for the text of a list that cannot be read.
    """
    if isinstance(value, str):
        value = _split(value.strip(), place)
    elif is_missing(value):
        return []
    elif isinstance(value, bytes):
        value = [value]
    if not isinstance(value, list | tuple):
        raise DataError(f"{place}: found {_kind(value)}, expected a path, a|b, or a list of paths.")
    for item in value:
        if not isinstance(item, str | bytes) and not is_missing(item):
            raise DataError(f"{place}: found a list with {_kind(item)}, expected a path, a|b, or a list of paths.")
    return [None if is_missing(i) else without_surrogates(i).strip() if isinstance(i, str) else i for i in value]


def views(value: Any, place: str, images: int) -> list[str]:
    """The views in a cell beside `images` images, "" for a missing one.

    One cell for several images is divided at `,` or `;`, as a cell of image files is: `PA,LATERAL`.
    """
    found = items(value, place)
    if len(found) == 1 and images > 1 and isinstance(found[0], str):
        found = re.split(r"[,;\n]", found[0])
    return ["" if is_missing(view) else str(view).strip() for view in found]


def whole(value: Any) -> Any:
    """The value without lone surrogates, which no writer could encode."""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {whole(key): whole(item) for key, item in value.items()}
    return value


def _split(cell: str, place: str) -> Sequence[Any]:
    if is_missing(cell):
        return []
    if cell[0] in "[(" and cell[-1] in "])" and not cell.lower().endswith(IMAGE_SUFFIXES):
        return _listed(cell, place)
    if "|" in cell:
        return cell.split("|")
    for mark in (";", ",", "\n"):
        parts = [part.strip() for part in cell.split(mark)]
        if len(parts) > 1 and all(part.lower().endswith(IMAGE_SUFFIXES) for part in parts):
            return parts
    return [cell]


def _listed(cell: str, place: str) -> Sequence[Any]:
    """Items of the text of a list. NumPy writes no commas, and Python would join such texts to one."""
    try:
        found = json.loads(cell)
    except ValueError:
        pass
    else:
        if isinstance(found, list):
            return found
    inside, found, position = cell[1:-1].strip(), [], 0
    while position < len(inside):
        match = _ITEM.match(inside, position)
        if match is None:
            raise DataError(f"{place}: a list of images or views is malformed, expected {LIST_FORMS}.")
        word = match.group(1)
        found.append(re.sub(r"\\(.)", r"\1", word[1:-1], flags=re.DOTALL) if word[0] in "'\"" else None)
        position = match.end()
    return found


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
