"""One loop for many calls: connections and files stay as many as they were, whoever calls an async judge."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time

import pytest

import judges
from judges.base import Case, Score
from judges.errors import JudgeFailed
from judges.event_loop import LoopThread
from judges.identity import identify
from judges.registry import load_judge
from judges.serve import ServedJudge
from tests.unit.judges.green.stub_server import serving
from tests.unit.judges.rubric.chat_server import Chat

SICK = "Small left pleural effusion."
CALLS = 12


@pytest.fixture
def rubric(tmp_path):
    with serving(Chat()) as chat:
        judge = load_judge("rubric", {"url": chat.url, "model": "llm", "cache": False, "start_s": 0.3})
        yield judge
        judge.close()


def served(judge):
    one = ServedJudge(judge, identify(judge, "rubric"))
    return lambda: one.score([Case("s", SICK, SICK)]), one.close


def by_pairs(judge):
    return lambda: judges.score([(SICK, SICK)], judge), lambda: None


def in_loops_of_their_own(judge):
    return lambda: asyncio.run(judge.score([Case("s", SICK, SICK)])), lambda: None


def open_files(at_most: int = 0) -> int:
    """How many this process has; waits for the stub's threads, which close the other ends a little later."""
    deadline = time.monotonic() + 5
    while True:
        gc.collect()
        found = len(os.listdir("/proc/self/fd"))
        if not at_most or found <= at_most or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


@pytest.mark.parametrize("way", [served, by_pairs, in_loops_of_their_own])
def test_many_calls_leave_as_many_pools_and_files_as_one(rubric, way):
    ask, close = way(rubric)
    try:
        ask()
        files = open_files()
        for _ in range(CALLS):
            [score] = ask()
            assert score.value == 1.0
        assert len(rubric._client._pools) == 1
        assert open_files(files + 4) <= files + 4, "a connection, with both of its ends here, may be made anew"
    finally:
        close()


@pytest.fixture
def loop():
    loop = LoopThread()
    yield loop
    loop.close()


async def running():
    return asyncio.get_running_loop()


async def ends_python():
    raise SystemExit(3)


def test_calls_share_a_loop_and_what_one_raises_is_its_own(loop):
    first = loop.result(running())
    with pytest.raises(SystemExit):
        loop.result(ends_python())

    async def in_a_task_of_its_own():
        await asyncio.gather(ends_python())

    with pytest.raises(SystemExit):
        loop.result(in_a_task_of_its_own())
    assert loop.result(running()) is first


def test_a_judge_that_scores_with_another_one_does_not_wait_for_itself():
    class Asks:
        name = "asks"

        async def score(self, cases):
            return judges.score(cases, Later())

    class Later:
        name = "later"

        async def score(self, cases):
            await asyncio.sleep(0)
            return [Score(0.5) for _ in cases]

    found: list[Score] = []
    thread = threading.Thread(target=lambda: found.extend(judges.score([(SICK, SICK)], Asks())), daemon=True)
    thread.start()
    thread.join(10)
    assert [score.value for score in found] == [0.5]


def test_closing_ends_the_thread_and_a_call_that_runs_has_failed(loop, monkeypatch):
    monkeypatch.setattr("judges.event_loop.CLOSE_S", 0.1)
    raised: list[BaseException] = []
    begun = threading.Event()

    async def never():
        begun.set()
        await asyncio.sleep(60)

    def call() -> None:
        try:
            loop.result(never())
        except BaseException as problem:
            raised.append(problem)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    assert begun.wait(10)
    thread, started = loop._thread, time.monotonic()
    loop.close()
    caller.join(10)
    assert not thread.is_alive() and time.monotonic() - started < 5
    assert [type(problem) for problem in raised] == [JudgeFailed]
    assert loop.result(running()).is_running(), "another thread begins"
