"""`load_judge`: from what the configuration names, or an object, to a judge.

`judges.objects` says what a name can be. The object is a Judge class (made with `args`), a Judge instance, or a reward
function in TRL's call form.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

from judges.arguments import check_names, check_types
from judges.base import Judge
from judges.border import border
from judges.callable import CallableJudge
from judges.errors import JudgeError
from judges.length import LengthControlled, Unit
from judges.objects import Kind, last_word
from judges.radeval.metrics import METRICS, metric_named
from judges.transform import Steps, Transformed

BUILT_IN = {
    "crimson": "judges.crimson:CrimsonJudge",
    "findings": "judges.findings:FindingsJudge",
    "findings_f1": "judges.findings:FindingsF1",
    "green": "judges.green.judge:GreenJudge",
    "http": "judges.remote:HttpJudge",
    "rubric": "judges.rubric.judge:RubricJudge",
    **{f"radeval:{metric}": f"judges.radeval.client:{metric}" for metric in METRICS},
}
JUDGES = Kind("judge", BUILT_IN, "online_rl.judges", JudgeError)
GIVEN = "python"  # python:NAME stands in a run's configuration for a judge that was given as an object


def load_judge(
    use: str | Judge | Callable[..., Any],
    args: dict[str, Any] | None = None,
    length_control: str = "none",
    name: str | None = None,
    *,
    length_unit: Unit = "words",
    length_args: dict[str, Any] | None = None,
    conversational: bool = False,
    transform: Steps = (),
) -> Judge:
    """The judge that `use` names, made with `args`, called `name`, under the length rule `length_control`.

    use             a name, or the object itself: a Judge class or instance, or a reward function
    conversational  give a reward function its prompts and completions as lists of messages, not as strings
    transform       what is done to its value before length control (`judges.transform`)
    """
    found, shown = (_find(use), use) if isinstance(use, str) else (use, _shown(use))
    judge = _as_judge(found, shown, dict(args or {}), name, conversational)
    if transform:
        judge = Transformed(judge, transform)
    if length_control == "none":
        return judge
    return LengthControlled(judge, length_control, length_unit, length_args)


def _shown(given: Any) -> str:
    """What messages call an object that was given instead of named."""
    return str(getattr(given, "__name__", None) or type(given).__name__)


def _find(use: str) -> Any:
    if use.rpartition(":")[0] == GIVEN:
        raise JudgeError(
            f"judge {use!r} was given to online_rl.train in Python, so it cannot be found by name. Give it again, or "
            "name a judge: a built-in one, package.module:object, or path/to/file.py:object."
        )
    if use.startswith("radeval:"):
        metric_named(use.removeprefix("radeval:"))
    return JUDGES.load(use)


def _as_judge(found: Any, use: str, args: dict[str, Any], name: str | None, conversational: bool) -> Judge:
    subject = f"judge {use!r}"
    if inspect.isclass(found):
        _check_arguments(found, use, args)
        with border(subject, "making it"):
            found = found(**args)
        args = {}
    elif callable(getattr(found, "score", None)):
        if args:
            raise JudgeError(f"judge {use!r} is an instance already; args {sorted(args)} cannot be given to it.")
        with border(subject, "copying it"):
            found = copy.copy(found)  # a configuration may name one instance twice
    if callable(getattr(found, "score", None)):
        if conversational:
            raise JudgeError(f"judge {use!r}: conversational is for reward functions; this is a judge with `score`.")
        if name is not None or not isinstance(getattr(found, "name", None), str):
            with border(subject, "giving it a name"):
                found.name = name or last_word(use)
        return found
    if callable(found):
        return CallableJudge(found, name or last_word(use), args, conversational)
    raise JudgeError(
        f"judge {use!r} is of type {type(found).__name__}; expected a Judge class, a Judge instance, or a reward "
        "function. A judge has a method `score(cases)`; a function is called itself."
    )


def check_built_in(use: str, args: dict[str, Any]) -> None:
    """Raise JudgeError where a judge of this package does not take these arguments; others are not looked at."""
    found = JUDGES.load(use) if use in BUILT_IN else None
    if inspect.isclass(found):
        _check_arguments(found, use, args)


def _check_arguments(found: type, use: str, args: dict[str, Any]) -> None:
    check_names(found, use, args)
    if use in BUILT_IN:
        check_types(found, use, args)
