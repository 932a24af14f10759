"""One call of a judge: retries for what failed, errors for what is wrong, and never a made-up score."""

import pytest

from judges.base import Case, Score
from online_rl.errors import JudgeError, JudgeFailed
from online_rl.scoring.calls import call_judge


def cases(*candidates):
    return [Case(f"s{i}", candidate, "reference") for i, candidate in enumerate(candidates)]


def values(scores):
    return [s.value for s in scores]


@pytest.mark.parametrize("kind", ["WordCount", "AsyncWordCount"])
def test_sync_and_async_judges_keep_order(judges, kind):
    scores, retries = call_judge(getattr(judges, kind)(), cases("a b c", "a", "a b"), max_retries=0)
    assert values(scores) == [3.0, 1.0, 2.0] and retries == 0


def test_what_failed_is_asked_again_and_the_rest_is_not(judges):
    judge = judges.OutOfReach(times=2)
    judge.asked["a b"] = 2  # this one is in reach from the start
    scores, retries = call_judge(judge, cases("a b c", "a b", "a"), max_retries=3)
    assert values(scores) == [3.0, 2.0, 1.0]
    assert retries == 2
    assert judge.asked == {"a b c": 3, "a b": 3, "a": 3}


def test_a_judge_that_stays_out_of_reach_is_named(judges):
    judge = judges.OutOfReach(times=99)
    judge.asked["in reach"] = 99
    with pytest.raises(JudgeFailed) as failed:
        call_judge(judge, cases("secret finding", "in reach"), max_retries=2)
    message = str(failed.value)
    assert "'remote'" in message and "1 of 2" in message and "2 retries" in message and "HTTP 503" in message
    assert "secret" not in message
    assert judge.asked["secret finding"] == 3  # once, and two retries


def test_unscorable_is_an_answer_and_not_a_failure():
    class Unreadable:
        name, calls = "judge", 0

        def score(self, cases):
            self.calls += 1
            return [Score.unscorable("no counts in the analysis") for _ in cases]

    judge = Unreadable()
    scores, retries = call_judge(judge, cases("a"), max_retries=3)
    assert values(scores) == [None] and retries == 0 and judge.calls == 1


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
def test_a_broken_contract_names_the_judge_and_is_not_retried(answer, found):
    class Broken:
        name, calls = "mine", 0

        def score(self, cases):
            self.calls += 1
            return answer

    judge = Broken()
    with pytest.raises(JudgeError, match=f"'mine'.*{found}"):
        call_judge(judge, cases("a", "b"), max_retries=3)
    assert judge.calls == 1


@pytest.mark.parametrize("error", [ZeroDivisionError, TimeoutError])
def test_a_judge_that_raises_is_named_without_its_words(error):
    class Raises:
        name = "mine"

        def score(self, cases):
            raise error(f"cannot read {cases[0].candidate}")

    with pytest.raises(JudgeError, match=f"'mine' raised {error.__name__}.*'s0'") as raised:
        call_judge(Raises(), cases("secret finding"), max_retries=3)
    assert "secret" not in str(raised.value)


def test_an_async_judge_that_raises_is_named_too():
    class Raises:
        name = "mine"

        async def score(self, cases):
            raise KeyError("candidate")

    with pytest.raises(JudgeError, match="'mine' raised KeyError"):
        call_judge(Raises(), cases("a"), max_retries=0)


def test_a_judge_that_compares_a_group_gets_all_of_it_again():
    """Its scores depend on who else is there, so a retry with the failed one alone would give another score."""

    class Ranks:
        name, granularity, calls = "ranks", "group", 0

        def score(self, cases):
            self.calls += 1
            order = sorted(range(len(cases)), key=lambda i: len(cases[i].candidate))
            scores = [Score(float(order.index(i))) for i in range(len(cases))]
            return [*scores[:-1], Score.failed("busy")] if self.calls == 1 else scores

    scores, retries = call_judge(Ranks(), cases("aaa", "a", "aa"), max_retries=1)
    assert values(scores) == [2.0, 0.0, 1.0] and retries == 1


def test_time_is_shared_out_where_the_judge_does_not_measure_it(judges):
    class Measures:
        name = "measures"

        def score(self, cases):
            return [Score(1.0, seconds=0.25) for _ in cases]

    assert [s.seconds for s in call_judge(Measures(), cases("a", "b"), 0)[0]] == [0.25, 0.25]
    scores, _ = call_judge(judges.AsyncWordCount(), cases("a", "b"), 0)
    assert scores[0].seconds == scores[1].seconds >= 0.0005  # half of the millisecond that it sleeps
