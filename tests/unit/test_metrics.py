"""The numbers of a step, from records made by hand."""

import json

import pytest

from judges.base import Score
from online_rl.metrics import gather_groups, is_better_greater, summarise
from online_rl.scoring.scorer import Candidate


def record(reward, scores=None, **fields):
    defaults = {
        "verbosity": 1.0,
        "words": 10,
        "tokens": 20,
        "prompt_tokens": 40,
        "truncated": False,
        "unscorable": reward is None,
        "injections": 0,
        "seconds": 0.0,
    }
    return {"reward": reward, "scores": scores or {"green": (reward, {})}, **defaults, **fields}


def test_reward_and_spread_leave_unscorable_candidates_out():
    # reward: (1 + 3 + 2) / 3 = 2. Spread of (1, 3) is sqrt(2), of (2, 2) is 0; a group with one score has none.
    groups = [[record(1.0), record(3.0), record(None)], [record(2.0), record(2.0)], [record(None), record(2.0)]]
    metrics = summarise(groups)
    assert metrics["reward"] == pytest.approx((1 + 3 + 2 + 2 + 2) / 5)
    assert metrics["reward_std"] == pytest.approx((2**0.5 + 0.0) / 2)
    assert metrics["judge/unscorable_rate"] == pytest.approx(2 / 7)


def test_lengths_and_verbosity_count_every_candidate():
    groups = [[record(None, tokens=4, words=2, truncated=True, verbosity=3.0), record(1.0, tokens=10, words=8)]]
    metrics = summarise(groups)
    assert metrics["completions/mean_length"] == 7.0
    assert (metrics["completions/min_length"], metrics["completions/max_length"]) == (4.0, 10.0)
    assert metrics["completions/mean_words"] == 5.0
    assert metrics["completions/clipped_ratio"] == 0.5
    assert metrics["verbosity/mean"] == 2.0


def test_percentiles_of_verbosity():
    metrics = summarise([[record(1.0, verbosity=float(v)) for v in range(20)]])
    # a tenth of 20 values lies below 2, nine tenths below 18
    assert (metrics["verbosity/p10"], metrics["verbosity/p90"]) == (2.0, 18.0)


def test_parts_of_a_judge_are_means_over_the_candidates_it_scored():
    scores = [
        {"findings": (0.5, {"false_finding": 1.0, "raw": 0.75, "verbosity": 1.5})},
        {"findings": (0.25, {"false_finding": 3.0, "raw": 0.25, "verbosity": 1.0})},
        {"findings": (None, {"false_finding": 100.0})},
    ]
    metrics = summarise([[record(s["findings"][0], s) for s in scores]])
    assert metrics["rewards/findings/mean"] == pytest.approx(0.375)
    assert metrics["rewards/findings/std"] == pytest.approx(0.25 / 2**0.5)  # n - 1: sqrt(2 * 0.125^2)
    assert metrics["judge/findings/false_finding"] == 2.0
    assert metrics["raw_reward/findings"] == 0.5
    assert not any("findings/verbosity" in name for name in metrics)  # it has its own name, verbosity/*


def test_a_part_that_only_some_scores_have_is_a_mean_over_those():
    scores = [{"j": (1.0, {"a": 4.0})}, {"j": (1.0, {})}]
    assert summarise([[record(1.0, s) for s in scores]])["judge/j/a"] == 4.0


def test_nothing_scored_gives_no_reward_rather_than_zero():
    metrics = summarise([[record(None), record(None)]])
    assert metrics["judge/unscorable_rate"] == 1.0
    assert not any(name.startswith(("reward", "raw_reward")) for name in metrics)


def test_no_candidate_at_all_gives_no_metric():
    assert summarise([]) == {}


def test_several_judges_stay_apart():
    scores = {"green": (0.5, {}), "words": (30.0, {})}
    metrics = summarise([[record(0.5, scores), record(0.5, scores)]])
    assert (metrics["rewards/green/mean"], metrics["rewards/words/mean"]) == (0.5, 30.0)


def test_records_hold_numbers_and_no_text(make_completion, make_study):
    study = make_study("secret-id", reference="secret reference")
    completion = make_completion(ids=(1, 2, 3), text="secret candidate", truncated=True, study=study)
    scores = {
        "green": Score(0.5, parts={"a": 1.0}, detail="secret analysis", seconds=0.25),
        "other": Score.unscorable("secret", seconds=1.0),
    }
    ((record,),) = gather_groups([[Candidate(completion, None, scores, words=2, verbosity=0.5)]])
    assert record["tokens"] == 3 and record["prompt_tokens"] == 3 and record["truncated"]
    assert record["unscorable"] and record["scores"]["green"] == (0.5, {"a": 1.0})
    assert record["scores"]["other"][0] is None
    assert "secret" not in json.dumps(record)


@pytest.mark.parametrize(
    ("metric", "greater"),
    [
        ("reward", True),
        ("rewards/green/mean", True),
        ("findings/f1", True),
        ("image/gain_f1", True),
        ("judge/green/matched_findings", True),
        ("judge/crimson/matched_findings", True),
        ("judge/findings/false_finding", False),
        ("judge/findings/wrong_attribute", False),
        ("judge/rubric/errors", False),
        ("judge/rubric/error_weight", False),
        ("judge/crimson/false_findings", False),
        ("judge/crimson/missing_findings", False),
        ("judge/crimson/attribute_errors", False),
        ("judge/injection_hits", False),
        ("guards/findings/wrong_attribute", False),
        ("findings/unread_references", False),
        ("findings/lost", False),
        ("labels/unknown_sentences", False),
        ("image/f1_wrong", False),
        ("completions/clipped_ratio", False),
    ],
)
def test_which_way_a_metric_gets_better(metric, greater):
    assert is_better_greater(metric) is greater
