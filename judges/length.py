"""Length control: rules that take something off a score when the candidate is longer than its reference report.

Every rule is a pure function `rule(value, verbosity) -> value`, where

    verbosity = candidate length / reference length        (whitespace words unless told otherwise)

and keeps three promises: it never raises a score; more verbosity (away from the allowed region) never raises it
either; inside the allowed region the score is untouched. Dividing a negative value would raise it, so where a rule
divides a value >= 0 by a factor >= 1, it multiplies a negative value by that factor.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from judges.base import Case, Judge, Score, Status
from online_rl.errors import JudgeError

Unit = Literal["words", "characters", "tokens"]
Rule = Callable[[float, float], float]

MOST = 100.0  # bound on the factor that a negative value is multiplied by, for candidates of no length


def length(text: str | Sequence[int], unit: Unit = "words") -> int:
    """Whitespace words, characters that are not whitespace, or (of a sequence of ids) tokens."""
    if unit == "tokens":
        if isinstance(text, str):
            raise JudgeError("length: unit 'tokens' counts a sequence of token ids, found text; use words|characters.")
        return len(text)
    if not isinstance(text, str):
        raise JudgeError(f"length: unit {unit!r} counts text, found token ids; use tokens.")
    if unit == "words":
        return len(text.split())
    if unit == "characters":
        return len("".join(text.split()))
    raise JudgeError(f"length: unit is {unit!r}; expected words, characters or tokens.")


def verbosity(candidate: str | Sequence[int], reference: str | Sequence[int], unit: Unit = "words") -> float:
    """Candidate length / reference length (CheXalign, arXiv 2410.07025, counts words).

    >>> verbosity("no effusion and no pneumothorax", "no pleural effusion seen")
    1.25
    """
    reference_length = length(reference, unit)
    if not reference_length:
        raise JudgeError(f"verbosity: the reference has no {unit}; such a row cannot be scored, leave it out.")
    return length(candidate, unit) / reference_length


def lc_green(value: float, verbosity: float) -> float:
    """LC-GREEN = value / max(verbosity, 1): over-length alone costs (CheXalign, Hein et al., arXiv 2410.07025).

    >>> lc_green(0.6, 1.5), lc_green(0.6, 0.5), lc_green(-0.5, 2.0)
    (0.39999999999999997, 0.6, -1.0)
    """
    return _scaled(value, max(verbosity, 1.0))


def symmetric(value: float, verbosity: float) -> float:
    """value / max(verbosity, 1 / verbosity): LC-GREEN that charges short reports as well.

    For runs that collapse to a few words; the same ratio on a logarithmic scale either way.
    """
    if verbosity <= 0.0:
        return 0.0 if value >= 0 else value * MOST
    return _scaled(value, max(verbosity, 1.0 / verbosity))


def overlong_penalty(length: float, limit: float, cache: float) -> float:
    """Soft overlong punishment, eq. 13 of DAPO (arXiv 2503.14476), in [-1, 0]:

    0                                    length <= limit - cache
    ((limit - cache) - length) / cache   limit - cache < length <= limit
    -1                                   limit < length
    """
    if not 0 < cache <= limit:
        raise JudgeError(f"overlong_penalty: cache is {cache}, limit is {limit}; expected 0 < cache <= limit.")
    return -min(max((length - (limit - cache)) / cache, 0.0), 1.0)


def soft_overlong(
    value: float, verbosity: float, limit: float = 2.0, cache: float = 1.0, form: str = "multiplicative"
) -> float:
    """`overlong_penalty` (DAPO, arXiv 2503.14476) of the verbosity: lengths are counted in reference lengths.

    multiplicative  value * (1 + penalty), and value * (1 - penalty) below zero
    subtractive     value + penalty, as DAPO adds it
    """
    penalty = overlong_penalty(verbosity, limit, cache)
    if form == "subtractive":
        return value + penalty
    if form == "multiplicative":
        return value * (1 + penalty) if value >= 0 else value * (1 - penalty)
    raise JudgeError(f"soft_overlong: form is {form!r}; expected multiplicative or subtractive.")


def _scaled(value: float, factor: float) -> float:
    """Charge `factor` >= 1: divide what is earned, multiply what is owed."""
    return value / factor if value >= 0 else value * min(factor, MOST)


RULES: dict[str, Rule] = {"lc_green": lc_green, "symmetric": symmetric, "soft_overlong": soft_overlong}


class LengthControlled:
    """Any judge, under a length rule: value = rule(judge's value, verbosity of the same texts).

    Adds the parts `raw` (the judge's own value) and `verbosity`. Unscorable and failed scores pass through as they
    are; a reference without a word leaves nothing to compare with and is unscorable. With unit "tokens" the lengths
    are those of `Case.completion_ids` and of the column `reference_ids`.

    `score` is a coroutine function when the judge's is.
    """

    def __init__(self, judge: Judge, rule: str | Rule = "lc_green", unit: Unit = "words") -> None:
        if isinstance(rule, str) and rule not in RULES:
            raise JudgeError(f"length_control is {rule!r}; expected none, {', '.join(RULES)}.")
        if unit not in ("words", "characters", "tokens"):
            raise JudgeError(f"length unit is {unit!r}; expected words, characters or tokens.")
        self.judge = judge
        self.name = judge.name
        self.granularity = getattr(judge, "granularity", "completion")
        self.rule = RULES[rule] if isinstance(rule, str) else rule
        self.unit = unit
        is_async = inspect.iscoroutinefunction(judge.score)
        self.score: Callable[[Sequence[Case]], Any] = self._score_async if is_async else self._score

    def _score(self, cases: Sequence[Case]) -> Any:
        scores: Any = self.judge.score(cases)
        return self._finish(cases, scores) if inspect.isawaitable(scores) else self._control(cases, scores)

    async def _score_async(self, cases: Sequence[Case]) -> list[Score]:
        return await self._finish(cases, self.judge.score(cases))

    async def _finish(self, cases: Sequence[Case], scores: Any) -> list[Score]:
        return self._control(cases, await scores)

    def _control(self, cases: Sequence[Case], scores: Sequence[Score]) -> list[Score]:
        if len(scores) != len(cases):
            raise JudgeError(f"judge {self.name!r} returned {len(scores)} scores for {len(cases)} cases.")
        return [self._one(case, score) for case, score in zip(cases, scores, strict=True)]

    def _one(self, case: Case, score: Score) -> Score:
        if score.status is not Status.SCORED or score.value is None:
            return score
        candidate, reference = self._texts(case)
        if not length(reference, self.unit):
            return Score.unscorable(f"the reference has no {self.unit}; length control has nothing to compare with")
        ratio = verbosity(candidate, reference, self.unit)
        value = min(self.rule(score.value, ratio), score.value)
        if not math.isfinite(value):
            raise JudgeError(
                f"length rule of judge {self.name!r} gave {value} for study {case.study_id!r} (raw value "
                f"{score.value}, verbosity {ratio:.3f}); expected a finite number."
            )
        return score.with_value(value, raw=score.value, verbosity=ratio)

    def _texts(self, case: Case) -> tuple[Any, Any]:
        if self.unit != "tokens":
            return case.candidate, case.reference
        if "reference_ids" not in case.columns:
            raise JudgeError(
                f"length unit 'tokens' needs the column reference_ids, which study {case.study_id!r} lacks; "
                "use words or characters."
            )
        return case.completion_ids, case.columns["reference_ids"]
