"""Length control: rules that take something off a score when the candidate is longer than its reference report.

Every rule is a pure function `rule(value, verbosity) -> value`, where

    verbosity = candidate length / reference length        (words unless told otherwise)

and keeps three promises: it never raises a score; more verbosity (away from the allowed region) never raises it
either; inside the allowed region the score is untouched. Dividing a negative value would raise it, so where a rule
divides a value >= 0 by a factor >= 1, it multiplies a negative value by that factor.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from judges.base import Case, Judge, Score, Status
from judges.errors import JudgeError
from judges.sync_or_async import matched, scoring
from judges.text import count_words, one_line

Unit = Literal["words", "characters", "tokens"]
Rule = Callable[[float, float], float]

UNITS = ("words", "characters", "tokens")
MOST = 100.0  # bound on the factor that a negative value is multiplied by, for candidates of no length


def count_characters(text: str) -> int:
    """Characters that are not whitespace: the unit that no gluing evades."""
    return len("".join(text.split()))


def verbosity(candidate: str, reference: str, count: Callable[[str], int] = count_words) -> float:
    """Candidate length / reference length (CheXalign, arXiv 2410.07025, counts words).

    >>> verbosity("no effusion and no pneumothorax", "no pleural effusion seen")
    1.25
    """
    reference_length = count(reference)
    if not reference_length:
        raise JudgeError("verbosity: the reference report has no length; such a row cannot be scored, leave it out.")
    return count(candidate) / reference_length


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


def target_band(value: float, verbosity: float, low: float = 0.8, high: float = 1.2, multiplier: float = 1.0) -> float:
    """Charge what leaves the band [low, high] on the side that `multiplier` points to:

    value / (1 + multiplier * max(verbosity - high, 0))       multiplier >= 0: the reports are too long
    value / (1 - multiplier * max(low - verbosity, 0))        multiplier <  0: too short

    The multiplier is that of the constraint low <= mean verbosity <= high, see `next_multiplier`. It scales the value
    instead of being subtracted from it: additive length penalties invite shortcuts (GR3, arXiv 2603.10535).
    """
    excess = verbosity - high if multiplier >= 0 else low - verbosity
    return _scaled(value, 1.0 + abs(multiplier) * max(excess, 0.0))


def next_multiplier(
    multiplier: float, mean: float, low: float, high: float, rate: float = 0.5, limit: float = 10.0
) -> float:
    """One step of projected dual ascent on low <= mean <= high (the update of RCPO, arXiv 1805.11074):

    too long:   multiplier + rate * (mean - high), never below 0
    too short:  multiplier + rate * (mean - low),  never above 0

    One constraint is at work at a time: the multiplier falls back to 0 before it changes sign. Bounded by +-limit.
    """
    if multiplier > 0 or (multiplier == 0 and mean > high):
        moved = max(0.0, multiplier + rate * (mean - high))
    else:
        moved = min(0.0, multiplier + rate * (mean - low))
    return min(max(moved, -limit), limit)


class TargetBand:
    """The rule `target_band` with a multiplier that adapts: `adapt` is called once per step, on every rank, with the
    mean verbosity over all ranks; the multiplier is therefore the same everywhere, and part of the checkpoint."""

    def __init__(self, low: float = 0.8, high: float = 1.2, rate: float = 0.5, limit: float = 10.0) -> None:
        if not 0 <= low <= high:
            raise JudgeError(f"target_band: low is {low}, high is {high}; expected 0 <= low <= high.")
        if rate <= 0 or limit <= 0:
            raise JudgeError(f"target_band: rate is {rate}, limit is {limit}; expected both above 0.")
        self.low, self.high, self.rate, self.limit = low, high, rate, limit
        self.multiplier = 0.0

    def __call__(self, value: float, verbosity: float) -> float:
        return target_band(value, verbosity, self.low, self.high, self.multiplier)

    def adapt(self, mean_verbosity: float) -> None:
        self.multiplier = next_multiplier(self.multiplier, mean_verbosity, self.low, self.high, self.rate, self.limit)

    def state_dict(self) -> dict[str, float]:
        return {"multiplier": self.multiplier}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.multiplier = float(state["multiplier"])


def _scaled(value: float, factor: float) -> float:
    """Charge `factor` >= 1: divide what is earned, multiply what is owed."""
    return value / factor if value >= 0 else value * min(factor, MOST)


RULES: dict[str, Callable[..., Any]] = {
    "lc_green": lc_green,
    "symmetric": symmetric,
    "soft_overlong": soft_overlong,
    "target_band": TargetBand,
}


def make_rule(name: str, args: Mapping[str, Any] | None = None) -> Rule:
    """The rule called `name` with `args` bound. Raises JudgeError for a name, an argument or a value that it lacks."""
    if name not in RULES:
        raise JudgeError(f"length_control is {name!r}; expected none, {', '.join(RULES)}.")
    made, given = RULES[name], dict(args or {})
    takes = [p for p in inspect.signature(made).parameters if p not in ("value", "verbosity")]
    unknown = sorted(given.keys() - set(takes))
    if unknown:
        raise JudgeError(
            f"length_args: {name} takes no argument {unknown[0]!r}; it takes {', '.join(takes) or 'none'}."
        )
    try:
        rule: Any = made(**given) if inspect.isclass(made) else functools.partial(made, **given)
        rule(0.5, 1.5)
    except TypeError:
        raise JudgeError(f"length_args: {given} do not fit {name}; expected numbers.") from None
    return rule


class LengthControlled:
    """Any judge, under a length rule: value = rule(judge's value, verbosity of the same texts).

    unit          words, characters, or tokens of both cleaned texts
    count_tokens  text -> number of tokens; needed where the unit is tokens, and set by the trainer there

    Adds the parts `raw` (the judge's own value) and `verbosity`, and `multiplier` where the rule has one. Unscorable
    and failed scores pass through as they are; a reference report of no length is unscorable.

    `score` is a coroutine function when the judge's is; the judge's `start`, `sleep`, `wake`,
    `drain_metrics` and `close` stay.
    """

    def __init__(
        self,
        judge: Judge,
        rule: str | Rule = "lc_green",
        unit: Unit = "words",
        args: Mapping[str, Any] | None = None,
        count_tokens: Callable[[str], int] | None = None,
    ) -> None:
        if unit not in UNITS:
            raise JudgeError(f"length_unit is {unit!r}; expected {', '.join(UNITS)}.")
        self.judge = judge
        self.name = judge.name
        self.rule = make_rule(rule, args) if isinstance(rule, str) else rule
        self.rule_name, self.rule_args = rule if isinstance(rule, str) else "", dict(args or {})
        self.unit = unit
        self.count_tokens = count_tokens
        is_async = inspect.iscoroutinefunction(judge.score)
        self.score = scoring(lambda cases: self.judge.score(cases), self._control, is_async)

    def __getattr__(self, name: str) -> Any:  # asked only for what this class has not
        if name in ("start", "sleep", "wake", "drain_metrics", "close"):
            return getattr(self.judge, name)
        if name == "granularity":  # a judge may know it only once it has started
            return getattr(self.judge, name, "completion")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def adapt(self, mean_verbosity: float) -> None:
        """A step has been taken; `mean_verbosity` is over all ranks."""
        if hasattr(self.rule, "adapt"):
            self.rule.adapt(mean_verbosity)

    def state_dict(self) -> dict[str, Any]:
        parts = {"rule": self.rule, "judge": self.judge}
        return {name: part.state_dict() for name, part in parts.items() if hasattr(part, "state_dict")}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, part in (("rule", self.rule), ("judge", self.judge)):
            if name in state and hasattr(part, "load_state_dict"):
                part.load_state_dict(state[name])

    def _control(self, cases: Sequence[Case], scores: Sequence[Score], seconds: float) -> list[Score]:
        return [self._one(case, score) for case, score in matched(self.name, cases, scores)]

    def _one(self, case: Case, score: Score) -> Score:
        if score.status is not Status.SCORED or score.value is None:
            return score
        reference, count = case.reference, self._count()
        if not count(reference):
            return Score.unscorable(f"the reference has no {self.unit}; length control has nothing to compare with")
        ratio = verbosity(case.candidate, reference, count)
        value = min(self.rule(score.value, ratio), score.value)
        if not math.isfinite(value):
            raise JudgeError(
                f"length rule of judge {self.name!r} gave {value} for study {case.study_id!r} (raw value "
                f"{score.value}, verbosity {ratio:.3f}); expected a finite number."
            )
        parts = {"raw": score.value, "verbosity": ratio}
        if hasattr(self.rule, "multiplier"):
            parts["multiplier"] = self.rule.multiplier
        return score.with_value(value, **parts)

    def _count(self) -> Callable[[str], int]:
        if self.unit == "words":
            return count_words
        if self.unit == "characters":
            return count_characters
        if self.count_tokens is None:
            raise JudgeError(
                f"judge {self.name!r}: length_unit is tokens, and there is no tokenizer to count them with outside of "
                "training. Set length_unit to words or characters."
            )
        count = self.count_tokens
        return lambda text: count(one_line(text))
