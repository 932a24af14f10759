"""Calling judges: bounded in number and time, repeated after a failure, never after a programming error."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

from tenacity import AsyncRetrying, retry_if_result

from judges.base import Case, Judge, Score, Status, checked_scores
from judges.border import border, scores_after
from online_rl.config.model import Scoring
from online_rl.daemon_threads import DaemonThreads
from online_rl.errors import JudgeError, JudgeFailed, UserError
from online_rl.scoring.patience import Outages, Patience

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
        self._outages = Outages()
        self._turns = asyncio.Semaphore(options.workers)
        self._threads = DaemonThreads("judge")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="judges", daemon=True)
        self._thread.start()
        self._in_flight = self._most_in_flight = 0

    def _run(self) -> None:
        """Run the loop until it is asked to stop, then close it.

        SystemExit in a task of a judge's own leaves `run_forever`, and only the call that waits for it should see it.
        """
        while not self._loop.is_closed():
            with contextlib.suppress(BaseException):
                self._loop.run_forever()
                self._loop.close()

    def submit(self, judge: Judge, cases: Sequence[Case]) -> Future[Answer]:
        """The future of the judge's answer. It raises JudgeError where the judge broke its contract."""
        return asyncio.run_coroutine_threadsafe(self._call(judge, list(cases)), self._loop)

    def tell(self, say: Callable[[str], Any]) -> None:
        """Send messages about judges that are waited for to `say` from now on; it is called from another thread."""
        self._outages.say = say

    def most_in_flight(self) -> int:
        """The most attempts at once since this was last asked."""
        most, self._most_in_flight = self._most_in_flight, self._in_flight
        return most

    def start(self, judge: Judge) -> None:
        """The judge's own `start()`, if it has one; a judge may load a model in it, so it has no deadline."""
        self._member(judge, "start", None)

    def beside(self, function: Callable[[], None]) -> Future[None]:
        """A future of `function`, which runs in a thread while the caller continues."""
        return self._threads.run(function)

    def close_judge(self, judge: Judge) -> None:
        """The judge's own `close()`, if it has one. A judge that cannot be closed stops nothing else."""
        try:
            self._member(judge, "close", CLOSE_S)
        except (UserError, JudgeFailed) as problem:
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

        patience = Patience(self.options)
        await AsyncRetrying(
            retry=retry_if_result(bool),
            stop=lambda _: patience.is_over(attempts, _longest_wish(scores)),
            wait=lambda _: patience.pause(attempts, _longest_wish(scores)),
            before_sleep=lambda state: self._outages.waiting(judge.name, _reason(scores), state.upcoming_sleep),
            retry_error_callback=lambda _: True,
        )(attempt)
        if attempts > 1 and not any(s.status is Status.FAILED for s in scores):
            self._outages.over(judge.name)
        return Answer(scores, attempts - 1, time.perf_counter() - start)

    async def _score_once(self, judge: Judge, cases: list[Case]) -> list[Score]:
        start = time.perf_counter()
        limit = self.options.call_timeout_s
        try:
            async with asyncio.timeout(limit) as clock:
                scores = await self._ask(judge, cases)
        except TimeoutError:
            assert clock.expired()
            return [Score.failed(f"no answer within scoring.call_timeout_s={limit:g} s")] * len(cases)
        return checked_scores(judge, cases, scores, time.perf_counter() - start)

    async def _ask(self, judge: Judge, cases: list[Case]) -> Any:
        try:
            if inspect.iscoroutinefunction(judge.score):
                return await judge.score(cases)
            answer = await asyncio.wrap_future(self._threads.run(_caught, judge.score, cases))
            if isinstance(answer, _Raised):
                return scores_after(answer.problem, judge.name, cases)
            return await answer if inspect.isawaitable(answer) else answer
        except BaseException as problem:
            return scores_after(problem, judge.name, cases)

    def _member(self, judge: Judge, name: str, timeout_s: float | None) -> None:
        member = getattr(judge, name, None)
        if member is None:
            return
        running: Future[Any]
        if inspect.iscoroutinefunction(member):
            running = asyncio.run_coroutine_threadsafe(_caught_later(member), self._loop)
        else:
            running = self._threads.run(_caught, member)
        try:
            answer = running.result(timeout_s)
        except FutureTimeout as problem:
            raise JudgeError(f"judge {judge.name!r}: {name}() did not return within {timeout_s} s.") from problem
        if isinstance(answer, _Raised):
            with border(f"judge {judge.name!r}", f"{name}()"):
                raise answer.problem


@dataclass(frozen=True)
class _Raised:
    """An exception as a value. A future that is given SystemExit or StopIteration takes the event loop down with it."""

    problem: BaseException


def _caught(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except BaseException as problem:
        return _Raised(problem)


async def _caught_later(function: Callable[..., Any]) -> Any:
    try:
        return await function()
    except BaseException as problem:
        return _Raised(problem)


async def _cancel_all() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


def answer_of(future: Future[Answer], judge: Judge, deadline_s: float) -> Answer:
    """The answer of one call. Raises JudgeFailed if it takes longer than `deadline_s`, and what the judge raised."""
    try:
        return future.result(deadline_s)
    except FutureTimeout:
        if future.done():  # the judge's own
            raise
        future.cancel()
        raise JudgeFailed(
            f"judge {judge.name!r} gave no answer within scoring.deadline_s={deadline_s:g} s. Check the judge, or "
            "raise the deadline."
        ) from None


def out_of_reach(judge: Judge, scores: Sequence[Score], options: Scoring) -> JudgeFailed:
    """The error of a judge some of whose scores are FAILED after all retries."""
    failed = [s for s in scores if s.status is Status.FAILED]
    reason = failed[0].detail
    if options.max_retries is None:
        tried, key = f"for more than scoring.outage_s={options.outage_s:g} s", "scoring.outage_s"
    else:
        tried, key = f"after {options.max_retries} retries", "scoring.max_retries"
    wish = _longest_wish(failed)
    asked = f"; it asks to be left alone for {wish:.0f} s" if wish else ""
    return JudgeFailed(
        f"judge {judge.name!r} failed on {len(failed)} of {len(scores)} cases {tried}"
        f"{': ' + reason if reason else ''}{asked}. Bring the judge back and start again with resume=auto, or raise "
        f"{key}."
    )


def _longest_wish(scores: Sequence[Score]) -> float:
    """The longest time that the failed ones ask to be left alone, seconds."""
    return max((s.retry_after_s for s in scores if s.status is Status.FAILED), default=0.0)


def _reason(scores: Sequence[Score]) -> str:
    return next(s.detail for s in scores if s.status is Status.FAILED)


def drain(judge: Judge) -> dict[str, float]:
    """The judge's own numbers since the last call (`drain_metrics()`); nothing if it keeps none."""
    member = getattr(judge, "drain_metrics", None)
    if member is None:
        return {}
    with border(f"judge {judge.name!r}", "drain_metrics()"):
        return {str(key): float(value) for key, value in member().items()}
