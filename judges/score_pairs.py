"""Scores pairs of reports in a line of Python: `judges.score(pairs, judge=...)`, without a trainer or a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from judges.base import Case, Judge, Score, checked_scores
from judges.border import border, scores_after
from judges.errors import JudgeError
from judges.event_loop import LoopThread
from judges.registry import load_judge
from judges.text import clean_statements, says_nothing

Pair = Case | Mapping[str, Any] | Sequence[str]
LOOP = LoopThread()  # of every call, so that a judge of the caller's own keeps its connections
EXPECTED = "(reference, candidate), or {'reference': ..., 'candidate': ..., 'study_id': ...}"


def score(
    pairs: Iterable[Pair],
    judge: str | Judge | Callable[..., Any] = "findings",
    *,
    args: dict[str, Any] | None = None,
    length_control: str = "none",
) -> list[Score]:
    """Score candidates against their reference reports; one `Score` per pair, in order.

    pairs           (reference, candidate) in this order; or dicts with the keys reference and candidate, and study_id
                    and further columns if there are any; or `Case` objects
    judge           a name (findings, green, package.module:object, path/to/file.py:object), a Judge, or a reward
                    function in TRL's form
    args            arguments that a named judge or function is made or called with
    length_control  none, lc_green, symmetric, soft_overlong

    A judge is given texts as in training, raw and cleaned. A reference report without words is unscorable, whatever the
    judge; a judge that could not be reached gives `Status.FAILED`: neither has a value. A judge that scores whole
    groups gets the neighbouring pairs of a study in one call. A judge that is made here is closed here; your own stays
    open.

    Raises JudgeError for a pair that is none, by its position, and for a judge that breaks its contract.

    >>> [s] = score([("Small left pleural effusion. Cardiomegaly.", "Small left pleural effusion.")])
    >>> s.value, s.parts["missing_finding"]
    (0.5, 1.0)
    """
    cases = [_case(pair, place) for place, pair in enumerate(pairs)]
    scores = [Score.unscorable("the reference report has no words")] * len(cases)
    loaded = load_judge(judge, args, length_control)
    whole = getattr(loaded, "granularity", "completion") == "group"
    own = not callable(getattr(judge, "score", None)) or inspect.isclass(judge)
    _member(loaded, "start")
    try:
        for places in _calls(cases, whole):
            asked = [cases[i] for i in places]
            for i, found in zip(places, checked_scores(loaded, asked, _scores(loaded, asked)), strict=True):
                scores[i] = found
    finally:
        if own:
            _member(loaded, "close")
    return scores


def _case(pair: Any, place: int) -> Case:
    columns: dict[str, Any] = {}
    study_id, indication = f"pairs[{place}]", ""
    if isinstance(pair, Case):
        return pair
    if isinstance(pair, Mapping):
        lacking = [name for name in ("reference", "candidate") if name not in pair]
        if lacking:
            found = ", ".join(sorted(map(str, pair))) or "nothing"
            raise JudgeError(f"pairs[{place}]: has no {lacking[0]!r}; found {found}, expected {EXPECTED}.")
        columns = dict(pair)
        reference, candidate = columns.pop("reference"), columns.pop("candidate")
        study_id = str(columns.pop("study_id", None) or study_id)
        indication = str(columns.pop("indication", None) or "")
    elif isinstance(pair, (tuple, list)) and len(pair) == 2:
        reference, candidate = pair
    else:
        found = f"{len(pair)} values" if isinstance(pair, (tuple, list)) else type(pair).__name__
        raise JudgeError(f"pairs[{place}]: found {found}, expected {EXPECTED}.")
    for name, text in (("reference", reference), ("candidate", candidate)):
        if not isinstance(text, str):
            raise JudgeError(f"pairs[{place}]: {name} is of type {type(text).__name__}, expected text.")
    return Case(
        study_id,
        clean_statements(candidate),
        clean_statements(reference),
        indication,
        columns=columns,
        raw_candidate=candidate,
        raw_reference=reference,
    )


def _calls(cases: Sequence[Case], whole_studies: bool) -> list[list[int]]:
    """Positions to hand over together: everything at once, or the neighbouring pairs of one study."""
    calls: list[list[int]] = []
    for i, case in enumerate(cases):
        if says_nothing(case.reference):
            continue
        if calls and (not whole_studies or cases[calls[-1][-1]].study_id == case.study_id):
            calls[-1].append(i)
        else:
            calls.append([i])
    return calls


def _scores(judge: Judge, cases: list[Case]) -> Any:
    try:
        return _result(judge.score(cases))
    except BaseException as problem:
        return scores_after(problem, judge.name, cases)


def _member(judge: Judge, name: str) -> None:
    """Call `judge.start()` or `judge.close()` if it has one."""
    member = getattr(judge, name, None)
    if member is not None:
        with border(f"judge {judge.name!r}", f"{name}()"):
            _result(member())


def _result(answer: Any) -> Any:
    """The answer itself, awaited if it must be: not on a notebook's own loop, which runs already."""
    return LOOP.result(answer) if inspect.isawaitable(answer) else answer
