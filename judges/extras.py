"""What a reward function reports beside its values: numbers that are plotted, and text that stays in `Score.detail`.

Four forms mean the same:

    (0.5, {"headings": 2})                            a tuple per completion
    {"reward": 0.5, "headings": 2}                    a dict per completion; "score" means "reward"
    ([0.5, 1.0], {"headings": [2, 3]})                a tuple of lists, or a dict {"rewards": [...], "headings": [...]}
    log_extra("headings", [2, 3])                     TRL's function, among the arguments

TRL's `log_metric("headings", 2.5)` is a number of the whole call: each of its completions gets it, so that the plotted
mean is TRL's.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

from judges.base import MOST_VALUE
from judges.errors import JudgeError

RESERVED = ("value", "raw", "verbosity", "multiplier", "mean", "std", "unscorable_rate")  # have a meaning in metrics
VALUE_KEYS, LIST_KEYS = ("reward", "score"), ("rewards", "scores")


class Extras:
    """The extras of one call, one entry per completion: `parts[row]` are numbers, `texts[row]` are lines of text.

    `judge` is the name that errors give; all of them are JudgeError and none quotes a text.
    """

    def __init__(self, judge: str, count: int) -> None:
        self.judge = judge
        self.parts: list[dict[str, float]] = [{} for _ in range(count)]
        self.texts: list[list[str]] = [[] for _ in range(count)]

    def log_extra(self, column: str, values: Any) -> None:
        """TRL's `log_extra`: one value per completion."""
        if not isinstance(values, (list, tuple)) or len(values) != len(self.parts):
            found = f"{len(values)} values" if isinstance(values, (list, tuple)) else f"a {type(values).__name__}"
            raise JudgeError(
                f"judge {self.judge!r} reported {found} as extra {column!r}; expected a list of {len(self.parts)}, one "
                "per completion."
            )
        for row, value in enumerate(values):
            self._add(row, column, value)

    def log_metric(self, name: str, value: Any) -> None:
        """TRL's `log_metric`: one number for the whole call."""
        self.log_extra(name, [value] * len(self.parts))

    def take(self, result: Any) -> Any:
        """The values alone of what a function returned; the extras in it are kept.

        Anything that is none of the forms is returned as it is, for the caller to judge.
        """
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping):
            if isinstance(result[0], (list, tuple)):
                for column, values in result[1].items():
                    self.log_extra(column, values)
                result = result[0]
        elif isinstance(result, Mapping) and sum(key in result for key in LIST_KEYS) == 1:
            [key] = [key for key in LIST_KEYS if key in result]
            for column, values in result.items():
                if column != key:
                    self.log_extra(column, values)
            result = result[key]
        if not isinstance(result, (list, tuple)) or len(result) != len(self.parts):
            return result
        return [self._take_row(row, value) for row, value in enumerate(result)]

    def detail(self, row: int) -> str:
        return "\n".join(self.texts[row])

    def _take_row(self, row: int, value: Any) -> Any:
        extras: Mapping[Any, Any] = {}
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Mapping):
            value, extras = value
        elif isinstance(value, Mapping) and sum(key in value for key in VALUE_KEYS) == 1:
            [key] = [key for key in VALUE_KEYS if key in value]
            extras = {name: extra for name, extra in value.items() if name != key}
            value = value[key]
        for name, extra in extras.items():
            self._add(row, name, extra)
        return value

    def _add(self, row: int, name: Any, value: Any) -> None:
        if not isinstance(name, str) or not name or name in RESERVED:
            raise JudgeError(
                f"judge {self.judge!r} reported an extra called {name!r}; expected a name that is text and none of "
                f"{', '.join(RESERVED)}, which mean something else in metrics. Rename it."
            )
        if value is None:
            return
        if isinstance(value, str):
            self.texts[row].append(f"{name}: {value}")
        elif is_number(value):
            if abs(number := as_float(value)) <= MOST_VALUE:
                self.parts[row][name] = number
        else:
            raise JudgeError(
                f"judge {self.judge!r} reported a {type(value).__name__} as extra {name!r} of row {row}; expected a "
                "number, text or None (for a tensor or an array: .item())."
            )


def is_number(value: Any) -> bool:
    """Tell whether `value` is an integer, a float or a truth value of Python or numpy.

    Truth values count as 1 and 0, as they do in TRL. Text, fractions, tensors and arrays are no numbers here.
    """
    if isinstance(value, (int, float)):
        return True
    known = isinstance(value, numbers.Real) or type(value).__name__ in ("bool", "bool_")  # numpy's of 2.x and 1.x
    return type(value).__module__ == "numpy" and known


def as_float(value: Any) -> float:
    """A number as a float; integers beyond its range are infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
