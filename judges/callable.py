"""`CallableJudge`: any reward function in TRL's call form as a judge, checked strictly.

    f(prompts, completions, completion_ids, **columns) -> list[float | None]        (or a coroutine function)

`None` is unscorable, a truth value is 1 or 0 as in TRL, and further numbers may stand beside the values
(`judges.extras`). Nothing else is read into a return value: a wrong length, NaN, text or a tensor is an error that
names the function, the row and the study, because a reward must never be invented.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from judges.base import Case, Score, Status
from judges.errors import JudgeError, JudgeFailed
from judges.extras import Extras, as_float, is_number
from judges.objects import needed_module
from judges.sync_or_async import scoring

CALL_FORM = ("prompts", "completions", "completion_ids")
OWN_COLUMNS = (
    "ground_truth",
    "reference",
    "completions_cleaned",
    "reference_cleaned",
    "indication",
    "study_id",
    "images",
    "log_extra",
    "log_metric",
)


class CallableJudge:
    """Wraps `function`; `args` are bound as extra keyword arguments.

    The function gets lists, one entry per case: TRL's three, the columns of `OWN_COLUMNS`, and the further columns of
    the study's row; only those that its signature takes, unless it takes `**kwargs`. Texts are raw: completions as
    sampled, `ground_truth` and `reference` both as the data have the reference report. `completions_cleaned` and
    `reference_cleaned` are what the built-in judges read. `log_extra` and `log_metric` are TRL's functions.

    `conversational` gives completions as TRL does for chat data sets, `[{"role": "assistant", "content": ...}]`, which
    the rewards in `trl.rewards` read; prompts likewise.
    """

    granularity = "group"  # a reward function sees the candidates of a study together, so that a run repeats exactly

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        args: dict[str, Any] | None = None,
        conversational: bool = False,
    ) -> None:
        self.function = function
        self.conversational = conversational
        self.name = str(name or getattr(function, "__name__", type(function).__name__))
        self.args = dict(args or {})
        self._parameters = _parameters(function)
        self._takes_all = any(p.kind is p.VAR_KEYWORD for p in self._parameters.values())
        self._check_args()
        call = getattr(function, "__call__", None)  # noqa: B004 - objects with an async __call__ count as async too
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
        self.score: Callable[[Sequence[Case]], Any] = self._score_async if is_async else self._score

    def _score(self, cases: Sequence[Case]) -> Any:
        return self._one_call(len(cases), is_async=False)(cases)

    async def _score_async(self, cases: Sequence[Case]) -> list[Score]:
        return await self._one_call(len(cases), is_async=True)(cases)

    def _one_call(self, count: int, is_async: bool) -> Callable[[Sequence[Case]], Any]:
        """What the function logs belongs to one call, while other calls may be under way."""
        extras = Extras(self.name, count)
        return scoring(partial(self._call, extras), partial(self._scores, extras), is_async, self._raised)

    def _call(self, extras: Extras, cases: Sequence[Case]) -> Any:
        keywords = self._keywords(cases, extras)
        try:
            return self.function(**keywords)
        except Exception as error:
            self._raised(cases, error)

    def _keywords(self, cases: Sequence[Case], extras: Extras) -> dict[str, Any]:
        offered: dict[str, Any] = {}
        for column in {key: None for case in cases for key in case.columns}:
            offered[column] = [case.columns.get(column) for case in cases]
        offered |= {
            "prompts": [self._form(case.prompt, "user") for case in cases],
            "completions": [self._form(case.raw_candidate, "assistant") for case in cases],
            "completions_cleaned": [case.candidate for case in cases],
            "completion_ids": [list(case.completion_ids) for case in cases],
            "ground_truth": [case.raw_reference for case in cases],
            "reference": [case.raw_reference for case in cases],
            "reference_cleaned": [case.reference for case in cases],
            "indication": [case.indication for case in cases],
            "study_id": [case.study_id for case in cases],
            "images": [list(case.images) for case in cases],
            "log_extra": extras.log_extra,
            "log_metric": extras.log_metric,
        }
        offered |= self.args
        for parameter in self._parameters.values():
            needed = parameter.default is parameter.empty and parameter.kind in (
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            )
            if needed and parameter.name not in offered:
                raise JudgeError(
                    f"judge {self.name!r} asks for {parameter.name!r}, which the data do not have; it can get "
                    f"{', '.join(sorted(offered))}. Add the column, a default, or the argument under args."
                )
        if self._takes_all:
            return offered
        return {key: value for key, value in offered.items() if key in self._parameters}

    def _form(self, text: str, role: str) -> Any:
        return [{"role": role, "content": text}] if self.conversational else text

    def _scores(self, extras: Extras, cases: Sequence[Case], result: Any, seconds: float) -> list[Score]:
        values = extras.take(result)
        if not isinstance(values, (list, tuple)):
            raise JudgeError(
                f"judge {self.name!r} returned a {_type_name(values)} for {_rows(cases)}; expected a list with one "
                "float or None per completion (for a tensor or an array: .tolist())."
            )
        if len(values) != len(cases):
            raise JudgeError(
                f"judge {self.name!r} returned {len(values)} values for {_rows(cases)}; expected {len(cases)}, one "
                "per completion."
            )
        each = seconds / max(len(cases), 1)
        scores = []
        for row, (case, value) in enumerate(zip(cases, values)):  # noqa: B905 - as long as each other
            parts, detail = extras.parts[row], extras.detail(row)
            if value is None:
                none = f"{self.name} returned None"
                scores.append(Score(None, Status.UNSCORABLE, parts, f"{none}\n{detail}" if detail else none, each))
            else:
                scores.append(Score(self._number(value, row, case), Status.SCORED, parts, detail, each))
        return scores

    def _number(self, value: Any, row: int, case: Case) -> float:
        if not is_number(value):
            found = f"a {_type_name(value)}"
        else:
            number = as_float(value)
            if math.isfinite(number):
                return number
            found = repr(number)
        raise JudgeError(
            f"judge {self.name!r} returned {found} for row {row} (study {case.study_id!r}); expected a finite float, "
            "or None where there is nothing to score."
        )

    def _raised(self, cases: Sequence[Case], error: Exception) -> NoReturn:
        if isinstance(error, (JudgeError, JudgeFailed)):
            raise error
        # The message of the exception may quote a report; its type cannot.
        needed = needed_module(error)
        remedy = (
            f"it {needed}." if needed else ("correct the function, or let it return None for what it cannot score.")
        )
        raise JudgeError(
            f"judge {self.name!r} raised {type(error).__name__} while scoring {_rows(cases)}; {remedy}"
        ) from error

    def _check_args(self) -> None:
        for key in self.args:
            if key in CALL_FORM or key in OWN_COLUMNS:
                raise JudgeError(f"judge {self.name!r}: args.{key} would hide the column {key!r}; rename it.")
            if not self._takes_all and key not in self._parameters:
                takes = ", ".join(name for name in self._parameters if name not in CALL_FORM) or "none"
                raise JudgeError(f"judge {self.name!r} takes no argument {key!r}; it takes: {takes}.")
        positional = [p.name for p in self._parameters.values() if p.kind is p.POSITIONAL_ONLY]
        if positional:
            raise JudgeError(f"judge {self.name!r}: {positional[0]!r} is positional only; take it by keyword.")


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some built-ins have no signature: offer them everything
        return {"kwargs": inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)}


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__name__}"


def _rows(cases: Sequence[Case]) -> str:
    if not cases:
        return "no rows"
    if len(cases) == 1:
        return f"row 0 (study {cases[0].study_id!r})"
    return f"rows 0 to {len(cases) - 1} (studies {cases[0].study_id!r} to {cases[-1].study_id!r})"
