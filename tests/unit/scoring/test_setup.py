"""From entries to judges that have been tried: the dry call, what is logged of them, blends and guards in a step."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from judges.base import Score
from online_rl.config import config_from_dict
from online_rl.errors import JudgeError, JudgeFailed
from online_rl.metrics import gather_groups, summarise
from online_rl.rollout.types import Rollouts
from online_rl.scoring import Scorer
from online_rl.scoring.adapt import adapt, judge_states, load_judge_states
from online_rl.scoring.setup import count_tokens_with, describe_judges, dry_call, load_judges, make_blend

REWARDS = """
from judges.base import Score

def words(completions, reference, **columns):
    return [float(len(c.split())) for c in completions]

def flat(completions, **columns):
    return [1.0 for _ in completions]

def wants(completions, site, **columns):
    return [float(len(s)) for s in site]

def short(completions, **columns):
    return [1.0]

def text(completions, **columns):
    return ["1.0" for _ in completions]

def of_trl(completions, **columns):
    return [float(len(c[0]["content"].split())) for c in completions]

def picky(completions, **columns):
    return [1.0 if len(c.split()) > 1 else None for c in completions]

class Away:
    name = "away"
    def score(self, cases):
        return [Score.failed("gone") for _ in cases]

class Asleep:
    name = "asleep"
    async def score(self, cases):
        import time
        time.sleep(0.7)
        return [Score(1.0) for _ in cases]

class Started:
    name = "started"
    def start(self):
        self.ready = True
    def score(self, cases):
        return [Score(float(self.ready)) for _ in cases]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rewards.py"
    path.write_text(REWARDS)
    return path


@pytest.fixture
def build(file):
    """(cfg, scorer) of judges and guards given as names in the file or as entries."""
    made = []

    def build(*judges, guards=(), **scoring):
        def entry(e):
            e = {"use": e} if isinstance(e, str) else dict(e)
            return e if e["use"] == "findings" else {**e, "use": f"{file}:{e['use']}"}

        cfg = config_from_dict(
            {"judges": [*map(entry, judges)], "guards": [*map(entry, guards)], "scoring": {"max_retries": 0, **scoring}}
        )
        loaded, watching = load_judges(cfg)
        made.append(Scorer(loaded, cfg, watching, make_blend(cfg)))
        made[-1].start()
        return cfg, made[-1]

    yield build
    for scorer in made:
        scorer.close()


@pytest.fixture
def study(make_study):
    return make_study("s7", reference="Secretive effusion. No edema.", columns={"site": "A"})


def test_judges_that_keep_their_contract_pass(build, study):
    of_trl = {"use": "of_trl", "conversational": True}
    cfg, scorer = build("words", "wants", of_trl, "Started", guards=["findings", "picky"])
    dry_call(scorer, study, cfg)


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("short", "'short' returned 1 values for rows 0 to 1 .*'s7'.*expected 2"),
        ("text", "'text' returned a str for row 0 .*'s7'"),
        ("of_trl", "'of_trl' raised TypeError"),
    ],
)
def test_a_judge_that_breaks_it_is_named_with_row_and_study(build, study, attribute, words):
    for place in ("judge", "guard"):
        cfg, scorer = build(attribute) if place == "judge" else build("words", guards=[attribute])
        with pytest.raises(JudgeError, match=words) as caught:
            dry_call(scorer, study, cfg)
        assert "effusion" not in str(caught.value).lower()


def test_a_column_that_the_data_lack_is_named(build, make_study):
    cfg, scorer = build("wants")
    with pytest.raises(JudgeError, match="'wants' asks for 'site', which the data do not have"):
        dry_call(scorer, make_study("s7"), cfg)


def test_a_judge_out_of_reach_is_named(build, study):
    cfg, scorer = build("Away")
    with pytest.raises(JudgeFailed, match="'Away'"):
        dry_call(scorer, study, cfg)


def test_a_judge_that_does_not_answer_in_time_is_named(build, study):
    cfg, scorer = build("Asleep")
    cfg.scoring.deadline_s = 0.2
    with pytest.raises(JudgeFailed, match=r"'Asleep' gave no answer within scoring\.deadline_s=0\.2 s"):
        dry_call(scorer, study, cfg)


def test_a_gate_that_reads_a_part_which_no_score_has_is_named(build, study):
    cfg, scorer = build({"use": "words", "only_if": "findings.false_findings == 0"}, guards=["findings"])
    with pytest.raises(JudgeError, match="'findings' gave no part 'false_findings'.*false_finding,"):
        dry_call(scorer, study, cfg)


def test_what_is_logged_names_file_and_hash_and_tells_edits_apart(build, file):
    cfg, scorer = build("words", guards=["findings"])
    judges, guards = load_judges(cfg)
    words, findings = describe_judges(cfg, judges, guards)
    assert str(file) in words and "'words'" in words
    expected = hashlib.sha256(b"rewards.py\0" + file.read_bytes() + b"{}").hexdigest()
    assert f"sha256 {expected[:16]}" in words
    assert "judges/findings/judge.py" in findings and "version 0.2.0" in findings


def rollouts(make_completion, make_study, *texts, reference="one two three four", **fields):
    study = make_study("s1", reference=reference)
    return Rollouts([make_completion(candidate=i, text=t, study=study, **fields) for i, t in enumerate(texts)], 1,
                    len(texts), version=0)  # fmt: skip


def summary(scored):
    return summarise(gather_groups(scored.groups))


def test_guards_are_plotted_and_never_rewarded(build, make_completion, make_study):
    cfg, scorer = build("words", guards=["picky", "flat"])
    scored = scorer.score(rollouts(make_completion, make_study, "one", "one two"))
    assert scored.rewards == [[1.0, 2.0]], "a guard that cannot score takes no candidate out"
    metrics = summary(scored)
    assert (metrics["guards/picky/mean"], metrics["guards/picky/unscorable_rate"]) == (1.0, 0.5)
    assert metrics["guards/flat/mean"] == 1.0 and metrics["judge/unscorable_rate"] == 0.0
    assert not any(name.startswith(("rewards/picky", "rewards/flat", "judge/picky")) for name in metrics)


def test_a_gate_whose_guard_cannot_score_leaves_the_candidate_out(build, make_completion, make_study):
    cfg, scorer = build({"use": "words", "only_if": "picky.value == 1"}, guards=["picky"])
    scored = scorer.score(rollouts(make_completion, make_study, "one", "one two"))
    assert scored.rewards == [[None, 2.0]]
    assert summary(scored)["judge/unscorable_rate"] == 0.5


def test_a_gate_takes_its_term_out_of_the_sum(build, make_completion, make_study):
    report = "small left effusion. no pneumothorax."
    cfg, scorer = build({"use": "flat", "only_if": "findings.false_finding == 0"}, guards=["findings"])
    scored = scorer.score(rollouts(make_completion, make_study, report, report + " large nodule.", reference=report))
    assert scored.rewards == [[1.0, 0.0]]


def test_normalised_judges_change_what_is_learned_and_not_what_is_plotted(build, make_completion, make_study):
    cfg, scorer = build("words", "flat", multi_objective_aggregation="normalize_then_sum")
    scored = scorer.score(rollouts(make_completion, make_study, "one", "one two", "one two three"))
    assert scored.rewards[0] == pytest.approx([-1.0, 0.0, 1.0], abs=1e-3)
    assert [c.reward for c in scored.groups[0]] == [2.0, 3.0, 4.0] and summary(scored)["reward"] == 3.0


def test_a_masked_candidate_is_in_no_normalisation(build, make_completion, make_study):
    cfg, scorer = build("words", multi_objective_aggregation="normalize_then_sum", truncated="mask")
    scored = scorer.scored(scorer.ask(rollouts(make_completion, make_study, "one", "one two", truncated=True)))
    assert scored.rewards == [[None, None]]
    assert summary(scored)["judge/unscorable_rate"] == 0.0


BAND = {"use": "flat", "length_control": "target_band", "length_args": {"high": 1.0, "rate": 1.0}}


def test_the_band_adapts_once_per_step_and_goes_on_from_its_checkpoint(build, make_completion, make_study):
    def step(scorer):
        scored = scorer.score(rollouts(make_completion, make_study, "a b c d e f", "a b c d e f g h i j"))
        adapt(scorer.judges, gather_groups(scored.groups))
        return scored.rewards[0], summary(scored).get("judge/flat/multiplier")

    cfg, scorer = build(BAND)
    # verbosity 1.5 and 2.5, mean 2: the multiplier is 0, then 1, then 2
    assert step(scorer) == ([1.0, 1.0], 0.0)
    assert step(scorer) == ([pytest.approx(1 / 1.5), pytest.approx(1 / 2.5)], 1.0)
    states = judge_states(scorer.judges)
    assert states == {"flat": {"rule": {"multiplier": 2.0}}}
    cfg, again = build(BAND)
    load_judge_states(again.judges, states)
    assert step(again) == step(scorer) == ([pytest.approx(0.5), pytest.approx(0.25)], 2.0)


def test_judges_without_a_state_leave_nothing_in_a_checkpoint(build):
    cfg, scorer = build("words", {"use": "findings", "length_control": "lc_green"})
    assert judge_states(scorer.judges) == {}
    load_judge_states(scorer.judges, {"somebody else": {"x": 1}})


def test_nothing_scored_leaves_the_band_as_it_is(build):
    cfg, scorer = build(BAND)
    adapt(scorer.judges, [[{"scores": {"flat": (None, {})}}]])
    assert judge_states(scorer.judges) == {"flat": {"rule": {"multiplier": 0.0}}}


def test_tokens_are_the_policy_s(build, make_completion, make_study, demo_processor):
    cfg, scorer = build({"use": "flat", "length_control": "lc_green", "length_unit": "tokens"})
    dry_call(scorer, make_study(), cfg)  # before there is a tokenizer
    count_tokens_with(demo_processor.tokenizer, [judge for judge, _ in scorer.judges])
    reference = "the lungs are clear."
    scored = scorer.score(rollouts(make_completion, make_study, f"{reference} {reference}", reference=reference))
    [candidate] = scored.groups[0]
    one, two = (len(demo_processor.tokenizer(t)["input_ids"]) for t in (reference, f"{reference} {reference}"))
    assert candidate.scores["flat"].parts["verbosity"] == two / one


class Remembers:
    """A judge with a running mean."""

    name = "remembers"

    def __init__(self, mean) -> None:
        self.mean = mean

    def score(self, cases):
        return [Score(1.0) for _ in cases]

    def state_dict(self):
        return {"mean": self.mean, "steps": 3}


@pytest.mark.parametrize("mean", [np.float32(0.5), torch.tensor(0.5), 0.5])
def test_a_number_of_numpy_or_torch_is_kept_as_a_number(mean):
    [state] = judge_states([(Remembers(mean), 1.0)]).values()
    assert state == {"mean": 0.5, "steps": 3} and type(state["mean"]) is float


def test_a_state_that_no_checkpoint_can_hold_is_found_before_the_first_step(make_study):
    cfg = config_from_dict({})
    scorer = Scorer([(Remembers({1, 2}), 1.0)], cfg)
    try:
        with pytest.raises(JudgeError, match=r"judge 'remembers': state_dict\(\) gave what JSON cannot hold"):
            dry_call(scorer, make_study("s", reference="clear lungs"), cfg)
    finally:
        scorer.close()
