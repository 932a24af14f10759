"""`isolate`: a batch in which one case crashes is split until that case stands alone; the others keep their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from judges.border import where

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Crash:
    """What a case raised when it stood alone: the type of the exception, with file and line, and no text of its own."""

    raised: str


def isolate(compute: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]) -> list[Result | Crash]:
    """The result of each item, in order, or the Crash of those that `compute` can't do even alone.

    An answer of another length than the question is a crash as well: nobody knows which result belongs to which item.
    One bad item among n costs about 2 log2(n) more calls.

    >>> isolate(lambda numbers: [6 // n for n in numbers], [1, 0, 3])[2]
    2
    """
    if not items:
        return []
    try:
        found = list(compute(items))
        if len(found) == len(items):
            return list(found)
        crash = Crash(f"it gave {len(found)} values for {len(items)} case(s)")
    except Exception as problem:
        crash = Crash(where(problem))
    if len(items) == 1:
        return [crash]
    middle = len(items) // 2
    return isolate(compute, items[:middle]) + isolate(compute, items[middle:])
