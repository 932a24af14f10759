"""Canaries, cases whose order is known, scored beside the candidates of a step."""

from judges.base import Score
from online_rl.config.model import Config
from online_rl.scoring import Scorer
from tests.unit.scoring.test_scorer import GROUPS

CANARIES = {"empty", "colon", "template", "copy", "tripled", "negated"}


class Overlap:
    """The share of the reference report's words that the candidate has; an honest judge, for a while."""

    name, by_length = "overlap", False

    def score(self, cases):
        return [Score(self.one(case.candidate.split(), case.reference.split())) for case in cases]

    def one(self, ours, theirs):
        return float(len(ours)) if self.by_length else float(ours == theirs)


class Other(Overlap):
    name = "other"


def score(scorer, rollouts):
    """As a step does in which canaries are due."""
    return scorer.scored(scorer.ask(rollouts, canaries=True))


def test_canaries_are_scored_beside_the_step_and_leave_it_as_it_is(make_scorer, make_rollouts):
    scorer = make_scorer((Overlap(), 1.0), max_retries=0)
    scored = score(scorer, make_rollouts(*GROUPS))
    assert set(scored.canaries.values["overlap"]) == CANARIES
    assert scored.canaries.metrics()["canary/overlap/copy"] == 1.0 and scored.canaries.warnings == []
    assert len(scored.stats.latencies) == 20 == scored.stats.candidates
    without = scorer.score(make_rollouts(*GROUPS))
    assert without.rewards == scored.rewards and without.canaries.metrics() == {}


def test_canaries_that_could_not_be_scored_are_told(make_scorer, make_rollouts):
    class Away(Overlap):
        def score(self, cases):
            plain = super().score(cases)
            return [Score.failed("gone") if not case.candidate else s for case, s in zip(cases, plain, strict=True)]

    scored = score(make_scorer((Away(), 1.0), max_retries=0), make_rollouts(*GROUPS))
    assert "empty" not in scored.canaries.values["overlap"]
    assert any("could not score the canaries empty" in text for text in scored.canaries.warnings)


def test_a_judge_that_pays_for_length_is_warned_about(make_scorer, make_rollouts):
    judge = Overlap()
    judge.by_length = True
    scored = score(make_scorer((judge, 1.0)), make_rollouts(["a b"]))
    assert any("'overlap'" in text and "three times" in text for text in scored.canaries.warnings)
    assert scored.rewards == [[2.0]]


def test_a_judge_of_one_side_of_a_report_is_not_asked_for_the_canaries_order(make_scorer, make_rollouts):
    judge = Overlap()
    judge.by_length, judge.orders_canaries = True, False
    scored = score(make_scorer((judge, 1.0), (Other(), 1.0)), make_rollouts(["a b"]))
    assert list(scored.canaries.values) == ["other"]


def test_the_order_of_canaries_is_that_of_the_reward(make_scorer, make_rollouts):
    """A guard may count errors or words, where less is better; so may a judge of negative weight."""

    class Distance(Overlap):
        name = "distance"

        def score(self, cases):
            return [score.with_value(-score.value) for score in super().score(cases)]

    scorer = Scorer([(Overlap(), 1.0)], Config(), [Distance()])
    try:
        guarded = score(scorer, make_rollouts(["a b"]))
    finally:
        scorer.close()
    assert guarded.canaries.warnings == [] and set(guarded.canaries.values["distance"]) == CANARIES
    for weight, warned in ((-1.0, False), (1.0, True), (0.0, False)):
        scorer = make_scorer((Distance(), weight), (Other(), 1.0))
        scored = score(scorer, make_rollouts(["a b"]))
        assert any("'distance'" in text for text in scored.canaries.warnings) is warned


def test_a_judge_of_groups_gets_the_canaries_together(make_scorer, make_rollouts):
    class Ranks:
        name, granularity = "ranks", "group"

        def __init__(self):
            self.sizes = []

        def score(self, cases):
            self.sizes.append(len(cases))
            return [Score(float(len(c.candidate))) for c in cases]

    judge = Ranks()
    score(make_scorer((judge, 1.0)), make_rollouts(["a", "b", "c"]))
    assert sorted(judge.sizes) == [3, len(CANARIES)]


def test_canaries_that_cannot_be_scored_are_warned_about_and_stop_nothing(make_scorer, make_rollouts):
    class Picky(Overlap):
        def score(self, cases):
            if any(case.candidate == "" for case in cases):
                raise ZeroDivisionError
            return [Score.failed("HTTP 503") if ":" in c.candidate else Score(1.0) for c in cases]

    scored = score(make_scorer((Picky(), 1.0), max_retries=0), make_rollouts(["a", "b"]))
    assert scored.rewards == [[1.0, 1.0]] and scored.stats.failed == 0
    assert any("the canaries empty: " in text and "ZeroDivisionError" in text for text in scored.canaries.warnings)
    assert "canary/overlap/colon" not in scored.canaries.metrics()
