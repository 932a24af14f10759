"""One `score` around something that may answer at once or later: plain functions and coroutine functions alike."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

from judges.base import Case, Score
from judges.errors import JudgeError

Cases = Sequence[Case]


def matched(name: str, cases: Cases, scores: Sequence[Score]) -> list[tuple[Case, Score]]:
    """Each case with its score, from the judge `name`. Raises JudgeError unless there is one for each."""
    if len(scores) != len(cases):
        raise JudgeError(f"judge {name!r} returned {len(scores)} scores for {len(cases)} cases.")
    return list(zip(cases, scores, strict=True))


def scoring(
    ask: Callable[[Cases], Any],
    finish: Callable[[Cases, Any, float], list[Score]],
    is_async: bool,
    failed: Callable[[Cases, BaseException], Any] | None = None,
) -> Callable[[Cases], Any]:
    """A judge's `score`: a coroutine function if `is_async`, which is how a caller knows to await it.

    ask(cases)                      the answer, or an awaitable of it
    finish(cases, answer, seconds)  the scores; seconds from asking to the answer
    failed(cases, error)            raises what the caller should see if awaiting the answer raises
    """

    async def awaited(cases: Cases, answer: Any, started: float) -> list[Score]:
        try:
            answer = await answer
        except BaseException as error:
            if failed is not None:
                failed(cases, error)
            raise
        return finish(cases, answer, time.perf_counter() - started)

    def at_once(cases: Cases) -> Any:
        started = time.perf_counter()
        answer = ask(cases)
        if inspect.isawaitable(answer):
            return awaited(cases, answer, started)
        return finish(cases, answer, time.perf_counter() - started)

    async def later(cases: Cases) -> list[Score]:
        started = time.perf_counter()
        return await awaited(cases, ask(cases), started)

    return later if is_async else at_once
