"""Calling one judge: sync or async, with retries for what could not be reached, never for what is wrong."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Sequence
from typing import Any

from tenacity import RetryError, Retrying, retry_if_result, stop_after_attempt, wait_exponential

from judges.base import Case, Judge, Score, Status
from online_rl.errors import JudgeError, JudgeFailed, UserError

FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 10.0


def call_judge(judge: Judge, cases: Sequence[Case], max_retries: int) -> tuple[list[Score], int]:
    """One score per case, in order, and the number of retries.

    Only failed cases are asked again; a judge of whole groups gets the whole group again. Raises JudgeFailed when some
    still fail after `max_retries`, and JudgeError when the judge broke its contract.
    """
    scores: list[Score] = [Score.failed("")] * len(cases)
    whole_group = getattr(judge, "granularity", "completion") == "group"
    calls = 0

    def attempt() -> list[int]:
        nonlocal calls
        calls += 1
        pending = [i for i, s in enumerate(scores) if whole_group or s.status is Status.FAILED]
        for i, score in zip(pending, _score_once(judge, [cases[i] for i in pending]), strict=True):
            scores[i] = score
        return [i for i in pending if scores[i].status is Status.FAILED]

    try:
        Retrying(
            retry=retry_if_result(bool),
            stop=stop_after_attempt(max_retries + 1),
            wait=wait_exponential(FIRST_WAIT_S, LONGEST_WAIT_S),
        )(attempt)
    except RetryError:
        failed = [s for s in scores if s.status is Status.FAILED]
        reason = failed[0].detail
        raise JudgeFailed(
            f"judge {judge.name!r} failed on {len(failed)} of {len(cases)} cases after {max_retries} retries"
            f"{': ' + reason if reason else ''}. Bring the judge back and start again with resume=auto, or raise "
            "scoring.max_retries."
        ) from None
    return scores, calls - 1


def _score_once(judge: Judge, cases: list[Case]) -> list[Score]:
    start = time.perf_counter()
    try:
        answer: Any = judge.score(cases)
        scores = asyncio.run(answer) if inspect.iscoroutine(answer) else answer
    except (UserError, JudgeFailed):
        raise
    except Exception as problem:
        # The message of the exception may quote a report; its type cannot.
        raise JudgeError(
            f"judge {judge.name!r} raised {type(problem).__name__} on {len(cases)} case(s) from study "
            f"{cases[0].study_id!r} on. A judge that cannot be reached returns Score.failed(reason)."
        ) from problem
    if not isinstance(scores, list) or len(scores) != len(cases):
        got = f"{len(scores)} scores" if isinstance(scores, list) else type(scores).__name__
        raise JudgeError(f"judge {judge.name!r} returned {got} for {len(cases)} cases; expected a list of Score.")
    for case, score in zip(cases, scores, strict=True):
        if not isinstance(score, Score):
            raise JudgeError(
                f"judge {judge.name!r}, study {case.study_id!r}: returned {type(score).__name__}, expected a Score."
            )
    seconds = (time.perf_counter() - start) / max(1, len(cases))
    return [s if s.seconds else Score(s.value, s.status, s.parts, s.detail, seconds) for s in scores]
