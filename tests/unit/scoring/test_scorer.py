"""Rewards of a step: aligned with their candidates, weighted, masked, bounded in time, never invented."""

import asyncio
import json
import threading
import time

import pytest

from judges.base import Score
from judges.callable import CallableJudge
from online_rl.errors import JudgeError, JudgeFailed
from online_rl.metrics import record, summarise
from online_rl.rollout.types import Rollouts

GROUPS = [[" ".join(["word"] * (1 + 4 * g + i)) for i in range(4)] for g in range(5)]  # 1, 2, ... 20 words


def counts(groups=GROUPS):
    return [[float(len(text.split())) for text in group] for group in groups]


@pytest.mark.parametrize("shuffle", range(3))
def test_every_reward_belongs_to_its_candidate_whatever_finishes_first(make_scorer, make_rollouts, judges, shuffle):
    rollouts = make_rollouts(*GROUPS, shuffle=shuffle)
    scored = make_scorer((judges.RandomDelay(), 1.0), workers=8).score(rollouts)
    assert scored.rewards == counts()
    for group, texts in zip(scored.groups, GROUPS, strict=True):
        assert [c.completion.text for c in group] == texts
    assert len(scored.candidates()) == 20


def test_judging_starts_while_others_still_decode(make_scorer, make_completion, judges):
    judged_first = threading.Event()

    class Notices(judges.WordCount):
        def score(self, cases):
            judged_first.set()
            return super().score(cases)

    def stream():
        yield make_completion(candidate=0)
        assert judged_first.wait(5), "the first completion was not judged before the second was there"
        yield make_completion(candidate=1)

    scored = make_scorer((Notices(), 1.0)).score(Rollouts(stream(), 1, 2, version=0))
    assert scored.rewards == [[2.0, 2.0]]


def test_a_judge_as_slow_as_generation_hides_behind_it(make_scorer, make_completion):
    """64 completions, one every 10 ms; a judge that is busy for as long, 4 calls at a time, 40 ms each."""

    class Network:
        name = "network"

        async def score(self, cases):
            await asyncio.sleep(0.04)
            return [Score(1.0) for _ in cases]

    def engine():
        for i in range(64):
            time.sleep(0.01)
            yield make_completion(group=i // 8, candidate=i % 8)

    stats = make_scorer((Network(), 1.0), workers=4).score(Rollouts(engine(), 8, 8, version=0)).stats
    assert stats.generate_seconds >= 0.64
    assert stats.exposed_seconds < 0.32  # 0.05 s on a free machine; 0.64 s and more if judging came after


def test_what_the_caller_does_while_judges_work_is_not_waiting(make_scorer, make_rollouts, judges):
    """0.3 s of judging, 0.2 s of them spent on something else."""

    class Slow(judges.WordCount):
        def score(self, cases):
            time.sleep(0.3)
            return super().score(cases)

    scorer = make_scorer((Slow(), 1.0))
    asked = scorer.ask(make_rollouts(["one", "one two"]))
    assert not asked.done(within=0.0)
    began = time.perf_counter()
    time.sleep(0.2)
    asked.busy_seconds = time.perf_counter() - began
    scored = scorer.scored(asked)
    assert asked.done(within=0.0) and scored.rewards == [[1.0, 2.0]]
    assert scored.stats.ahead_seconds == asked.busy_seconds
    assert 0.05 < scored.stats.exposed_seconds < 0.3


def test_rewards_are_the_weighted_sum_of_the_judges(make_scorer, make_rollouts, judges):
    scorer = make_scorer(
        (judges.WordCount("a"), 2.0), (judges.AsyncWordCount("b"), -0.5), (judges.WordCount("watched"), 0.0)
    )
    scored = scorer.score(make_rollouts(["one", "one two"]))
    # 2 n - 0.5 n + 0 n = 1.5 n
    assert scored.rewards == [[1.5, 3.0]]
    assert {name: score.value for name, score in scored.groups[0][1].scores.items()} == {
        "a": 2.0,
        "b": 2.0,
        "watched": 2.0,
    }


def test_two_failures_change_no_reward_and_are_counted(make_scorer, make_rollouts, judges):
    scored = make_scorer((judges.OutOfReach(times=2), 1.0), max_retries=2).score(make_rollouts(*GROUPS))
    assert scored.rewards == counts()
    assert scored.stats.retries == 2 * 20 and scored.stats.failed == 0


def test_a_judge_gone_for_good_stops_the_step(make_scorer, make_rollouts, judges):
    with pytest.raises(JudgeFailed) as failed:
        make_scorer((judges.OutOfReach(times=99), 1.0), max_retries=1).score(make_rollouts(*GROUPS))
    assert "judge 'remote' failed on 20 of 20 cases after 1 retries: HTTP 503." in str(failed.value)


class Lossy:
    """Cannot be reached for candidates of four words, however often it is asked."""

    name = "lossy"

    def score(self, cases):
        return [Score.failed("gone") if len(c.candidate.split()) == 4 else Score(1.0) for c in cases]


def test_candidates_out_of_reach_have_no_reward_within_the_budget(make_scorer, make_rollouts):
    scored = make_scorer((Lossy(), 1.0), max_retries=1, max_failed_rate=0.05).score(make_rollouts(*GROUPS))
    assert scored.rewards == [[1.0, 1.0, 1.0, None], *[[1.0] * 4] * 4]  # 1 of 20 is 0.05: not more than the budget
    assert (scored.stats.failed, scored.stats.candidates, scored.stats.retries) == (1, 20, 1)


def test_candidates_out_of_reach_stop_the_step_over_the_budget(make_scorer, make_rollouts):
    with pytest.raises(JudgeFailed, match="'lossy' failed on 1 of 20 cases after 1 retries: gone"):
        make_scorer((Lossy(), 1.0), max_retries=1, max_failed_rate=0.04).score(make_rollouts(*GROUPS))


def test_whether_too_many_are_lost_is_for_all_ranks_to_say(make_scorer, make_rollouts):
    scorer = make_scorer((Lossy(), 1.0), max_retries=0, max_failed_rate=0.04)
    scored = scorer.scored(scorer.ask(make_rollouts(*GROUPS)))
    assert scored.stats.failed == 1 and "'lossy' failed on 1 of 20 cases" in str(scored.out_of_reach)
    assert scorer.too_many_lost(1, 20) and not scorer.too_many_lost(1, 40)


def test_a_broken_judge_stops_the_step(make_scorer, make_rollouts):
    class Short:
        name = "short"

        def score(self, cases):
            return []

    with pytest.raises(JudgeError, match="'short' returned 0 scores for 1 cases"):
        make_scorer((Short(), 1.0)).score(make_rollouts(["a", "b"]))


def test_a_hanging_judge_stops_the_step_within_its_deadline(make_scorer, make_rollouts):
    leave = threading.Event()

    class Hangs:
        name = "hangs"

        def score(self, cases):
            leave.wait(30)
            return [Score(1.0) for _ in cases]

    start = time.monotonic()
    try:
        with pytest.raises(JudgeFailed, match=r"'hangs'.*scoring\.deadline_s=0\.2"):
            make_scorer((Hangs(), 1.0), deadline_s=0.2).score(make_rollouts(*GROUPS))
        assert time.monotonic() - start < 2.0
    finally:
        leave.set()


def test_the_deadline_counts_from_the_last_completion(make_scorer, make_completion, judges):
    """Slow decoding is not the judge's fault."""

    def slow_engine():
        for i in range(2):
            time.sleep(0.15)
            yield make_completion(candidate=i)

    scored = make_scorer((judges.WordCount(), 1.0), deadline_s=0.2).score(Rollouts(slow_engine(), 1, 2, version=0))
    assert scored.rewards == [[2.0, 2.0]]
    assert scored.stats.generate_seconds >= 0.3 > scored.stats.exposed_seconds


def test_unscorable_is_no_reward_and_never_zero(make_scorer, make_rollouts, judges):
    class OnlyShort(judges.WordCount):
        def score(self, cases):
            return [Score.unscorable("too long") if " " in c.candidate else Score(0.0) for c in cases]

    scored = make_scorer((OnlyShort("picky"), 1.0), (judges.WordCount(), 1.0)).score(make_rollouts(["one", "one two"]))
    # One unreadable answer takes the whole candidate out, whatever the other judge says of it; a score of 0 stays one.
    assert scored.rewards == [[1.0, None]]


def test_a_cut_candidate_is_masked_only_where_configured(make_scorer, make_completion, judges):
    def rollouts():
        cut = [make_completion(candidate=0, truncated=True), make_completion(candidate=1)]
        return Rollouts(cut, 1, 2, version=0)

    masks, scores = (make_scorer((judges.WordCount(), 1.0), truncated=rule) for rule in ("mask", "score"))
    assert masks.scored(masks.ask(rollouts())).rewards == [[None, 2.0]]
    assert scores.scored(scores.ask(rollouts())).rewards == [[2.0, 2.0]]
    assert masks.score(rollouts()).rewards == [[2.0, 2.0]], "measured, as in an evaluation, what is cut counts"


def test_a_judge_of_groups_gets_each_group_whole_in_order_and_once(make_scorer, make_rollouts, judges):
    class Ranks:
        name, granularity = "ranks", "group"

        def __init__(self):
            self.seen = []

        def score(self, cases):
            self.seen.append([(c.study_id, c.candidate) for c in cases])
            return [Score(float(i)) for i in range(len(cases))]

    ranks = Ranks()
    scored = make_scorer((ranks, 1.0), (judges.RandomDelay(), 0.0)).score(make_rollouts(*GROUPS, shuffle=5))
    assert sorted(ranks.seen) == sorted([(f"s{g}", text) for text in texts] for g, texts in enumerate(GROUPS))
    assert scored.rewards == [[0.0, 1.0, 2.0, 3.0]] * 5


def test_judges_see_clean_texts_and_the_row(make_scorer, make_completion, make_study):
    seen = []

    class Looks:
        name = "looks"

        def score(self, cases):
            seen.extend(cases)
            return [Score(1.0) for _ in cases]

    study = make_study(reference="FINDINGS: [signed]  **No** effusion. ", columns={"site": "A"})
    completion = make_completion(text=" Clear\u00a0LUNGS.\r\n", study=study, ids=(9, 2))
    candidate = make_scorer((Looks(), 1.0)).score(Rollouts([completion], 1, 1, version=0)).groups[0][0]
    (case,) = seen
    assert (case.candidate, case.reference) == ("clear lungs.", "findings: no effusion.")
    assert (case.study_id, case.indication, case.completion_ids) == ("s1", "cough", (9, 2))
    assert case.columns == {"site": "A"}
    assert candidate.words == 2 and candidate.verbosity == pytest.approx(2 / 3)


def test_an_engine_error_is_not_swallowed(make_scorer, make_completion, judges):
    def dies():
        yield make_completion()
        raise OSError("the engine died")

    with pytest.raises(OSError, match="the engine died"):
        make_scorer((judges.WordCount(), 1.0)).score(Rollouts(dies(), 1, 2, version=0))


def test_too_many_unscorable_answers_stop_the_run(make_scorer, judges, monkeypatch):
    monkeypatch.setattr("online_rl.scoring.scorer.UNSCORABLE_WINDOW", 2)
    scorer = make_scorer((judges.WordCount(), 1.0), max_unscorable_rate=0.5)
    scorer.watch_unscorable(2, 10)
    scorer.watch_unscorable(8, 10)  # 10 of 20 is the limit, not over it
    with pytest.raises(JudgeFailed, match=r"11 of the last 20 .*scoring\.max_unscorable_rate=0\.5"):
        scorer.watch_unscorable(3, 10)  # the first step has left the window: 8 + 3


def test_a_step_of_nothing_is_not_over_the_limit(make_scorer, judges):
    make_scorer((judges.WordCount(), 1.0), max_unscorable_rate=0.0).watch_unscorable(0, 0)


def test_the_window_goes_on_after_a_resume(make_scorer, judges, monkeypatch):
    monkeypatch.setattr("online_rl.scoring.scorer.UNSCORABLE_WINDOW", 2)
    first, again = (make_scorer((judges.WordCount(), 1.0), max_unscorable_rate=0.5) for _ in range(2))
    first.watch_unscorable(5, 10)
    again.load_state_dict(json.loads(json.dumps(first.state_dict())))
    with pytest.raises(JudgeFailed, match="11 of the last 20"):
        again.watch_unscorable(6, 10)


def test_judges_are_started_drained_and_closed_once(make_scorer, make_rollouts, judges):
    class Served(judges.WordCount):
        def __init__(self):
            super().__init__("served")
            self.told, self.hits = [], 0

        async def start(self):
            self.told.append("start")

        def score(self, cases):
            self.hits += 1
            return super().score(cases)

        def drain_metrics(self):
            hits, self.hits = self.hits, 0
            return {"cache_hits": hits}

        def close(self):
            self.told.append("close")

    judge = Served()
    scorer = make_scorer((judge, 1.0), (judges.WordCount("plain"), 1.0))
    scorer.start()
    assert scorer.score(make_rollouts(*GROUPS)).stats.drained == {"judge/served/cache_hits": 20.0}
    assert scorer.score(make_rollouts(["a", "b"])).stats.drained == {"judge/served/cache_hits": 2.0}
    scorer.close()
    scorer.close()
    assert judge.told == ["start", "close"]


def test_a_judge_that_cannot_be_closed_keeps_no_other_open(make_scorer, judges):
    class Stuck(judges.WordCount):
        def close(self):
            raise OSError("no such process")

    class Closes(judges.WordCount):
        closed = False

        def close(self):
            self.closed = True

    last = Closes("last")
    scorer = make_scorer((Stuck("stuck"), 1.0), (last, 1.0))
    with pytest.warns(UserWarning, match=r"'stuck'.*close\(\) raised OSError"):
        scorer.close()
    assert last.closed


def test_an_error_ends_the_calls_that_still_wait(make_scorer, make_rollouts):
    class FirstIsBroken:
        name, calls = "broken", 0

        def score(self, cases):
            self.calls += 1
            if self.calls == 1:
                raise KeyError
            time.sleep(0.05)
            return [Score(1.0) for _ in cases]

    judge = FirstIsBroken()
    with pytest.raises(JudgeError, match="'broken' raised KeyError"):
        make_scorer((judge, 1.0), workers=1).score(make_rollouts(*GROUPS))
    asked = judge.calls
    time.sleep(0.2)
    assert judge.calls <= asked + 1 < 20


def test_judges_get_the_text_as_sampled_beside_the_cleaned_one(make_scorer, make_rollouts):
    class Looks:
        name = "looks"

        def score(self, cases):
            return [
                Score(float(c.raw_candidate == "FINDINGS:\n- **Clear**" and c.candidate == "findings:\n\n- clear"))
                for c in cases
            ]

    assert make_scorer((Looks(), 1.0)).score(make_rollouts(["FINDINGS:\n- **Clear**"])).rewards == [[1.0]]


def test_extras_of_a_reward_function_are_plotted_beside_its_mean(make_scorer, make_rollouts):
    """Two completions with one and three lines: the mean is (1 + 3) / 2 = 2."""
    judge = CallableJudge(lambda completions: [(1.0, {"lines": len(t.splitlines())}) for t in completions], "mine")
    scored = make_scorer((judge, 1.0)).score(make_rollouts(["a", "a\nb\nc"]))
    metrics = summarise([[record(c) for c in group] for group in scored.groups])
    assert (metrics["rewards/mine/mean"], metrics["judge/mine/lines"]) == (1.0, 2.0)


def test_reasoning_that_does_not_end_is_unscorable_and_never_rewarded(make_scorer, make_rollouts, judges):
    from dataclasses import replace

    rollouts = make_rollouts(["one two", "three four five"])
    stream = [replace(c, text="", unclosed=True) if c.candidate == 0 else c for c in rollouts.stream]
    scored = make_scorer((judges.WordCount(), 1.0)).score(Rollouts(stream, 1, 2, version=0))
    assert scored.rewards == [[None, 3.0]]
    [found] = scored.groups[0][0].scores.values()
    assert found.status.value == "unscorable" and "reasoning" in found.detail


def test_a_run_that_stopped_for_unscorable_candidates_begins_a_new_window(make_scorer):
    def mended():
        return make_scorer((Lossy(), 1.0), max_unscorable_rate=0.5)

    scorer = mended()
    with pytest.raises(JudgeFailed, match="were unscorable"):
        for unscorable in [0] * 9 + [8] * 11:
            scorer.watch_unscorable(unscorable, 8)
    resumed = mended()
    resumed.load_state_dict(scorer.state_dict())
    resumed.watch_unscorable(0, 8)
