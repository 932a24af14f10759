"""Calling judges: bounded in number and in time, asked again where they failed, never where they are wrong."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

from tenacity import AsyncRetrying, retry_if_result, stop_after_attempt, wait_exponential

from judges.base import Case, Judge, Score, Status, checked_scores
from judges.objects import needed_module
from online_rl.config.model import FIRST_PAUSE_S, LONGEST_PAUSE_S, Scoring
from online_rl.errors import JudgeError, JudgeFailed, UserError
from online_rl.scoring.threads import DaemonThreads

CLOSE_S = 30.0  # a judge may stop a server of its own in it


@dataclass(frozen=True)
class Answer:
    """One score per case, in order, some FAILED where the retries were used up.

    retries  further attempts after the first
    seconds  from the first attempt to the answer, with the pauses between attempts
    """

    scores: list[Score]
    retries: int
    seconds: float


class Calls:
    """Calls to judges from one event loop in a thread of its own, so that async judges keep their connections.

    At most `scoring.workers` attempts run at once; further calls wait for their turn without holding the caller up.
    Sync judges run in threads. An attempt that takes longer than `scoring.call_timeout_s` has failed: an async one
    is cancelled; a thread cannot be, so it is left behind and what it returns later is dropped.
    """

    def __init__(self, options: Scoring) -> None:
        self.options = options
        self._turns = asyncio.Semaphore(options.workers)
        self._threads = DaemonThreads("judge")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="judges", daemon=True)
        self._thread.start()
        self._in_flight = self._most_in_flight = 0

    def submit(self, judge: Judge, cases: Sequence[Case]) -> Future[Answer]:
        """The future of the judge's answer. It raises JudgeError where the judge broke its contract."""
        return asyncio.run_coroutine_threadsafe(self._call(judge, list(cases)), self._loop)

    def most_in_flight(self) -> int:
        """The most attempts at once since this was last asked."""
        most, self._most_in_flight = self._most_in_flight, self._in_flight
        return most

    def start(self, judge: Judge) -> None:
        """The judge's own `start()`, if it has one; a judge may load a model in it, so it has no deadline."""
        self._member(judge, "start", None)

    def beside(self, function: Callable[[], None]) -> Future[None]:
        """The future of `function`, which runs in a thread beside the caller's work."""
        return self._threads.run(function)

    def close_judge(self, judge: Judge) -> None:
        """The judge's own `close()`, if it has one. A judge that cannot be closed stops nothing else."""
        try:
            self._member(judge, "close", CLOSE_S)
        except Exception as problem:
            warnings.warn(f"judge {judge.name!r}: {problem}", stacklevel=2)

    def close(self) -> None:
        """Give up every call that still runs; returns in bounded time whatever the judges do."""
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop)
            self._loop.call_soon_threadsafe(self._loop.call_later, 0.05, self._loop.stop)
            self._thread.join(timeout=1.0)  # longer only where an async judge blocks the loop
        self._threads.close()

    async def _call(self, judge: Judge, cases: list[Case]) -> Answer:
        scores: list[Score] = [Score.failed("")] * len(cases)
        whole_group = getattr(judge, "granularity", "completion") == "group"
        attempts = 0
        start = 0.0

        async def attempt() -> bool:
            """Ask for what has failed so far; True where some still fails."""
            nonlocal attempts, start
            pending = [i for i, s in enumerate(scores) if whole_group or s.status is Status.FAILED]
            async with self._turns:
                attempts += 1
                start = start or time.perf_counter()
                self._in_flight += 1
                self._most_in_flight = max(self._most_in_flight, self._in_flight)
                try:
                    answers = await self._score_once(judge, [cases[i] for i in pending])
                finally:
                    self._in_flight -= 1
            for i, score in zip(pending, answers, strict=True):
                scores[i] = score
            return any(s.status is Status.FAILED for s in scores)

        await AsyncRetrying(
            retry=retry_if_result(bool),
            stop=stop_after_attempt(self.options.max_retries + 1),
            wait=wait_exponential(FIRST_PAUSE_S, LONGEST_PAUSE_S),
            retry_error_callback=lambda _: True,
        )(attempt)
        return Answer(scores, attempts - 1, time.perf_counter() - start)

    async def _score_once(self, judge: Judge, cases: list[Case]) -> list[Score]:
        start = time.perf_counter()
        limit = self.options.call_timeout_s
        try:
            async with asyncio.timeout(limit) as clock:
                scores = await self._ask(judge, cases)
        except (UserError, JudgeFailed):
            raise
        except Exception as problem:
            if clock.expired():
                return [Score.failed(f"no answer within scoring.call_timeout_s={limit:g} s")] * len(cases)
            # The message of the exception may quote a report; its type cannot.
            needed = needed_module(problem)
            remedy = f"It {needed}." if needed else "A judge that cannot be reached returns Score.failed(reason)."
            raise JudgeError(
                f"judge {judge.name!r} raised {type(problem).__name__} on {len(cases)} case(s) from study "
                f"{cases[0].study_id!r} on. {remedy}"
            ) from problem
        return checked_scores(judge, cases, scores, time.perf_counter() - start)

    async def _ask(self, judge: Judge, cases: list[Case]) -> Any:
        if inspect.iscoroutinefunction(judge.score):
            return await judge.score(cases)
        answer = await asyncio.wrap_future(self._threads.run(judge.score, cases))
        return await answer if inspect.isawaitable(answer) else answer

    def _member(self, judge: Judge, name: str, timeout_s: float | None) -> None:
        member = getattr(judge, name, None)
        if member is None:
            return
        try:
            if inspect.iscoroutinefunction(member):
                asyncio.run_coroutine_threadsafe(member(), self._loop).result(timeout_s)
            else:
                self._threads.run(member).result(timeout_s)
        except (UserError, JudgeFailed):
            raise
        except Exception as problem:
            late = isinstance(problem, FutureTimeout)
            what = f"did not return within {timeout_s} s" if late else f"raised {type(problem).__name__}"
            needed = needed_module(problem)
            raise JudgeError(f"judge {judge.name!r}: {name}() {what}{f'; it {needed}' if needed else ''}.") from problem


async def _cancel_all() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


def out_of_reach(judge: Judge, scores: Sequence[Score], retries: int) -> JudgeFailed:
    """The error of a judge some of whose scores are FAILED after all retries."""
    failed = [s for s in scores if s.status is Status.FAILED]
    reason = failed[0].detail
    return JudgeFailed(
        f"judge {judge.name!r} failed on {len(failed)} of {len(scores)} cases after {retries} retries"
        f"{': ' + reason if reason else ''}. Bring the judge back and start again with resume=auto, or raise "
        "scoring.max_retries."
    )


def drain(judge: Judge) -> dict[str, float]:
    """The judge's own numbers since the last call (`drain_metrics()`); nothing if it keeps none."""
    member = getattr(judge, "drain_metrics", None)
    if member is None:
        return {}
    try:
        return {str(key): float(value) for key, value in member().items()}
    except UserError:
        raise
    except Exception as problem:
        raise JudgeError(f"judge {judge.name!r}: drain_metrics() raised {type(problem).__name__}.") from problem
