"""One call of a judge: retries for what failed, errors for what is wrong, and never a made-up score."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from judges.base import Case, Score, Status
from online_rl.errors import ConfigError, JudgeError


def cases(*candidates):
    return [Case(f"s{i}", candidate, "reference") for i, candidate in enumerate(candidates)]


def values(answer):
    return [s.value for s in answer.scores]


@pytest.fixture
def ask(make_calls):
    """One call, from the judge to its answer."""

    def ask(judge, cases, **options):
        return make_calls(**options).submit(judge, cases).result(10)

    return ask


@pytest.mark.parametrize("kind", ["WordCount", "AsyncWordCount"])
def test_sync_and_async_judges_keep_order(judges, ask, kind):
    answer = ask(getattr(judges, kind)(), cases("a b c", "a", "a b"), max_retries=0)
    assert values(answer) == [3.0, 1.0, 2.0] and answer.retries == 0


def test_what_failed_is_asked_again_and_the_rest_is_not(judges, ask):
    judge = judges.OutOfReach(times=2)
    judge.asked["a b"] = 2  # this one is in reach from the start
    answer = ask(judge, cases("a b c", "a b", "a"), max_retries=3)
    assert values(answer) == [3.0, 2.0, 1.0]
    assert answer.retries == 2
    assert judge.asked == {"a b c": 3, "a b": 3, "a": 3}


def test_a_judge_that_stays_out_of_reach_is_asked_so_often_and_no_more(judges, ask):
    judge = judges.OutOfReach(times=99)
    judge.asked["in reach"] = 99
    answer = ask(judge, cases("a", "in reach"), max_retries=2)
    assert [s.status for s in answer.scores] == [Status.FAILED, Status.SCORED] and answer.retries == 2
    assert judge.asked["a"] == 3  # once, and two retries


def test_unscorable_is_an_answer_and_not_a_failure(ask):
    class Unreadable:
        name, calls = "judge", 0

        def score(self, cases):
            self.calls += 1
            return [Score.unscorable("no counts in the analysis") for _ in cases]

    judge = Unreadable()
    answer = ask(judge, cases("a"), max_retries=3)
    assert values(answer) == [None] and answer.retries == 0 and judge.calls == 1


@pytest.mark.parametrize(
    "answer, found",
    [
        ([], "0 scores for 2"),
        ([Score(1.0)], "1 scores for 2"),
        ([Score(1.0)] * 3, "3 scores for 2"),
        (None, "NoneType"),
        ((Score(1.0), Score(1.0)), "tuple"),
        ([Score(1.0), 0.5], "study 's1': returned float"),
        ([None, Score(1.0)], "study 's0': returned NoneType"),
    ],
)
def test_a_broken_contract_names_the_judge_and_is_not_retried(ask, answer, found):
    class Broken:
        name, calls = "mine", 0

        def score(self, cases):
            self.calls += 1
            return answer

    judge = Broken()
    with pytest.raises(JudgeError, match=f"'mine'.*{found}"):
        ask(judge, cases("a", "b"), max_retries=3)
    assert judge.calls == 1


@pytest.mark.parametrize("error", [ZeroDivisionError, TimeoutError])
def test_a_judge_that_raises_is_named_without_its_words(ask, error):
    class Raises:
        name = "mine"

        def score(self, cases):
            raise error(f"cannot read {cases[0].candidate}")

    with pytest.raises(JudgeError, match=f"'mine' raised {error.__name__}.*'s0'") as raised:
        ask(Raises(), cases("secret finding"), max_retries=3)
    assert "secret" not in str(raised.value)


def test_an_async_judge_that_raises_is_named_too(ask):
    class Raises:
        name = "mine"

        async def score(self, cases):
            raise KeyError("candidate")

    with pytest.raises(JudgeError, match="'mine' raised KeyError"):
        ask(Raises(), cases("a"), max_retries=0)


def test_a_judge_that_compares_a_group_gets_all_of_it_again(ask):
    """Its scores depend on who else is there, so a retry with the failed one alone would give another score."""

    class Ranks:
        name, granularity, calls = "ranks", "group", 0

        def score(self, cases):
            self.calls += 1
            order = sorted(range(len(cases)), key=lambda i: len(cases[i].candidate))
            scores = [Score(float(order.index(i))) for i in range(len(cases))]
            return [*scores[:-1], Score.failed("busy")] if self.calls == 1 else scores

    answer = ask(Ranks(), cases("aaa", "a", "aa"), max_retries=1)
    assert values(answer) == [2.0, 0.0, 1.0] and answer.retries == 1


def test_time_is_shared_out_where_the_judge_does_not_measure_it(judges, ask):
    class Measures:
        name = "measures"

        def score(self, cases):
            return [Score(1.0, seconds=0.25) for _ in cases]

    assert [s.seconds for s in ask(Measures(), cases("a", "b")).scores] == [0.25, 0.25]
    scores = ask(judges.AsyncWordCount(), cases("a", "b")).scores
    assert scores[0].seconds == scores[1].seconds >= 0.0005  # half of the millisecond that it sleeps


class HangsOnce:
    """Leaves its first call without an answer until it is let go; answers all others."""

    name = "hangs"

    def __init__(self):
        self.let_go, self.calls = threading.Event(), 0

    def score(self, cases):
        self.calls += 1
        if self.calls == 1:
            self.let_go.wait(30)
        return [Score(float(self.calls)) for _ in cases]


def test_a_call_that_hangs_is_left_behind_and_asked_again(ask):
    judge = HangsOnce()
    start = time.monotonic()
    answer = ask(judge, cases("a"), call_timeout_s=0.2, max_retries=1)
    assert values(answer) == [2.0] and answer.retries == 1
    assert 0.2 <= answer.seconds <= time.monotonic() - start < 5
    judge.let_go.set()


def test_a_call_that_always_hangs_fails_in_bounded_time_with_the_reason(ask):
    class Hangs:
        name = "hangs"

        async def score(self, cases):
            await asyncio.sleep(60)

    start = time.monotonic()
    answer = ask(Hangs(), cases("a", "b"), call_timeout_s=0.1, max_retries=2)
    assert [s.status for s in answer.scores] == [Status.FAILED] * 2
    assert answer.scores[0].detail == "no answer within scoring.call_timeout_s=0.1 s"
    assert time.monotonic() - start < 5


def test_a_judges_own_timeout_error_is_its_fault_and_not_the_deadlines(ask):
    class Raises:
        name = "mine"

        async def score(self, cases):
            raise TimeoutError

    with pytest.raises(JudgeError, match="'mine' raised TimeoutError"):
        ask(Raises(), cases("a"), call_timeout_s=30.0)


@pytest.mark.parametrize("is_async", [False, True])
def test_calls_in_flight_are_bounded_and_the_caller_is_not_held_up(make_calls, is_async):
    lock, now, most = threading.Lock(), 0, 0

    def enter(by):
        nonlocal now, most
        with lock:
            now += by
            most = max(most, now)

    class Sync:
        name = "slow"

        def score(self, cases):
            enter(+1)
            time.sleep(0.02)
            enter(-1)
            return [Score(1.0) for _ in cases]

    class Async:
        name = "slow"

        async def score(self, cases):
            enter(+1)
            await asyncio.sleep(0.02)
            enter(-1)
            return [Score(1.0) for _ in cases]

    calls = make_calls(workers=3)
    start = time.monotonic()
    futures = [calls.submit(Async() if is_async else Sync(), cases("a")) for _ in range(30)]
    handed_over = time.monotonic() - start
    assert all(f.result(10).retries == 0 for f in futures)
    assert most == 3 == calls.most_in_flight()
    assert handed_over < 0.1 < 0.2 <= time.monotonic() - start  # 10 rounds of 0.02 s


def test_a_judge_that_waits_to_be_asked_again_takes_nobodys_turn(make_calls, judges, monkeypatch):
    monkeypatch.setattr("online_rl.scoring.patience.FIRST_PAUSE_S", 3.0)
    monkeypatch.setattr("online_rl.scoring.patience.LONGEST_PAUSE_S", 3.0)
    calls = make_calls(workers=1, max_retries=1)
    waits = calls.submit(judges.OutOfReach(times=9), cases("a"))
    time.sleep(0.1)
    assert values(calls.submit(judges.WordCount(), cases("a b")).result(2)) == [2.0]
    assert not waits.done()


def test_async_calls_share_one_event_loop(make_calls):
    """Connection pools of async clients belong to the loop that opened them."""
    loops = []

    class Looks:
        name = "looks"

        async def start(self):
            loops.append(asyncio.get_running_loop())

        async def score(self, cases):
            loops.append(asyncio.get_running_loop())
            return [Score(1.0) for _ in cases]

    calls, judge = make_calls(), Looks()
    calls.start(judge)
    for _ in range(3):
        calls.submit(judge, cases("a")).result(10)
    assert len(loops) == 4 and len(set(map(id, loops))) == 1


def test_what_start_refuses_is_told_in_its_own_words(make_calls):
    class Refuses:
        name = "green"

        def start(self):
            raise ConfigError("judge 'green': found model x at the URL, expected y.")

    class Breaks:
        name = "mine"

        def start(self):
            raise OSError("secret path")

    with pytest.raises(ConfigError, match="found model x"):
        make_calls().start(Refuses())
    with pytest.raises(JudgeError, match=r"'mine': start\(\) raised OSError") as raised:
        make_calls().start(Breaks())
    assert "secret" not in str(raised.value)


def test_a_process_ends_although_a_call_hangs(root):
    code = """
import threading, time
from judges.base import Case
from online_rl.config.model import Scoring
from online_rl.scoring.calls import Calls

class Hangs:
    name = "hangs"
    def score(self, cases):
        threading.Event().wait()

class Blocks:
    name = "blocks the event loop"
    async def score(self, cases):
        time.sleep(600)

for judge in (Hangs(), Blocks()):
    calls = Calls(Scoring())
    calls.submit(judge, [Case("s", "a", "b")])
    time.sleep(0.2)
    calls.close()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
