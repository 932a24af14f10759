"""A judge's value, changed before length control and weights see it: metrics in which less is better become rewards.

transform: negate                            -x: RadCliQ, an error count
transform: reciprocal                        1 / (1 + x), for x from 0 on: 1 without an error, towards 0 with many
transform: [{scale: 0.5}, {clip: [0, 1]}]    one after the other
transform: my_code.py:function               float -> float, yours
"""

from __future__ import annotations

import hashlib
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from judges.base import Case, Judge, Score, Status
from judges.border import border
from judges.errors import JudgeError
from judges.objects import Kind
from judges.sources import source_files
from judges.sync_or_async import matched, scoring

Steps = str | Sequence[str | Mapping[str, Any]]
Function = Callable[[float], float]


class OutOfRange(JudgeError):
    """A value that a step is not made for."""


def negate(x: float) -> float:
    return -x


def reciprocal(x: float) -> float:
    """1 / (1 + x). Raises OutOfRange below 0, where it would reverse the order."""
    if x < 0:
        raise OutOfRange(f"transform: reciprocal found {x:g}, expected 0 or more, such as a number of errors.")
    return 1 / (1 + x)


def scale(factor: float) -> Function:
    return lambda x: factor * x


def clip(low: float, high: float) -> Function:
    return lambda x: min(max(x, low), high)


NAMED: dict[str, Function] = {"negate": negate, "reciprocal": reciprocal}
WITH_NUMBERS: dict[str, tuple[int, Callable[..., Function]]] = {"scale": (1, scale), "clip": (2, clip)}
FUNCTIONS = Kind("transform", {}, "online_rl.transforms", JudgeError)
FORMS = "negate, reciprocal, {scale: number}, {clip: [low, high]}, or file.py:function"


def make_steps(transform: Steps) -> list[Function]:
    """The functions that `transform` names, in order. Raises JudgeError, which begins with "transform"."""
    return [_step(step) for step in ([transform] if isinstance(transform, str) else transform)]


def check(transform: Steps) -> None:
    """Raises JudgeError unless every step has a known form; imports nothing of the user's."""
    for step in [transform] if isinstance(transform, str) else transform:
        if not isinstance(step, str) or ":" not in step:
            _step(step)


def formula(value: str, transform: Steps) -> str:
    """`value` with the steps around it, as a reward is written down.

    >>> formula("errors", ["reciprocal", {"scale": 0.5}])
    '0.5 * (1 / (1 + errors))'
    """
    for step in [transform] if isinstance(transform, str) else transform:
        if isinstance(step, Mapping):
            [(name, given)] = step.items()
            numbers = [f"{number:g}" for number in (given if isinstance(given, list | tuple) else [given])]
            value = f"{numbers[0]} * ({value})" if name == "scale" else f"{name}({', '.join([value, *numbers])})"
        else:
            own = f"{step.rpartition(':')[2]}({value})"
            value = {"negate": f"-({value})", "reciprocal": f"1 / (1 + {value})"}.get(step, own)
    return value


def _step(step: str | Mapping[str, Any]) -> Function:
    if isinstance(step, str):
        if step in NAMED:
            return NAMED[step]
        if ":" not in step:
            raise JudgeError(f"transform: found {step!r}, expected {FORMS}.")
        found = FUNCTIONS.load(step)
        if not callable(found):
            raise JudgeError(f"transform {step!r} is of type {type(found).__name__}; expected a function of a number.")
        return found
    name, given = next(iter(step.items())) if len(step) == 1 else ("", None)
    if name not in WITH_NUMBERS:
        raise JudgeError(f"transform: found {dict(step)!r}, expected {FORMS}.")
    count, make = WITH_NUMBERS[name]
    numbers: list[Any] = [*given] if isinstance(given, list | tuple) else [given]
    good = all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers)
    if len(numbers) != count or not good or numbers[0] > numbers[-1]:
        expected = "one number" if name == "scale" else "two numbers, the lower one first"
        raise JudgeError(f"transform: {name}: found {given!r}, expected {expected}.")
    return make(*numbers)


class Transformed:
    """Any judge, with its value changed; the part `untransformed` keeps the judge's own.

    Unscorable and failed scores pass through as they are. What else the judge has (`start`, `sleep`, `granularity` ...)
    is the judge's.
    """

    def __init__(self, judge: Judge, transform: Steps) -> None:
        self.judge = judge
        self.name = judge.name
        self.steps = make_steps(transform)
        self.score = scoring(
            lambda cases: self.judge.score(cases), self._change, inspect.iscoroutinefunction(judge.score)
        )

    def __getattr__(self, name: str) -> Any:  # asked only for what this class has not
        if name.startswith("_") or name == "judge":
            raise AttributeError(name)
        return getattr(self.judge, name)

    def transform_hashes(self) -> dict[str, str]:
        """SHA-256 (hex) of the files that the user's functions stand in, by the file's name."""
        modules = {getattr(step, "__module__", "") for step in self.steps} - {__name__}
        files = (found for name in sorted(modules) for found in source_files(sys.modules.get(name)).items())
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files}

    def _change(self, cases: Sequence[Case], scores: Sequence[Score], seconds: float) -> list[Score]:
        return [self._one(case, score) for case, score in matched(self.name, cases, scores)]

    def _one(self, case: Case, score: Score) -> Score:
        if score.status is not Status.SCORED or score.value is None:
            return score
        value: Any = score.value
        try:
            with border(f"judge {self.name!r}", "its transform"):
                for step in self.steps:
                    value = step(value)
        except OutOfRange as problem:
            raise JudgeError(f"judge {self.name!r}: study {case.study_id!r}: {problem}") from None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise JudgeError(
                f"transform of judge {self.name!r} gave {value!r} for study {case.study_id!r} (the judge's own value "
                f"{score.value:g}); expected a finite number."
            )
        return score.with_value(float(value), untransformed=score.value)
