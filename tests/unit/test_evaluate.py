"""Evaluation: one report per study, the same judges, and texts kept only where they were asked for."""

import json

import pytest

from judges.base import Score
from online_rl.config import config_from_dict
from online_rl.evaluate import evaluate, write_samples
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.scoring import Scorer


class Builder:
    def build_all(self, studies):
        if any(study.indication == "unreadable" for study in studies):
            raise OSError("no such image")
        return [Prompt(study, "", (), (1, 2), {}) for study in studies]


class Repeats:
    """An engine that writes the reference report, last study first."""

    def greedy(self, prompts):
        def stream():
            for group in reversed(range(len(prompts))):
                prompt = prompts[group]
                yield Completion(group, 0, prompt, (5, 6), (-0.1, -0.1), f" {prompt.study.reference}\n", False)

        return Rollouts(stream(), len(prompts), 1, version=3)


class Words:
    name = "words"

    def score(self, cases):
        return [Score(float(len(c.candidate.split())), parts={"letters": float(len(c.candidate))}) for c in cases]


@pytest.fixture
def scorer():
    scorer = Scorer([(Words(), 1.0)], config_from_dict({}))
    yield scorer
    scorer.close()


@pytest.fixture
def studies(make_study):
    return [make_study(f"s{i}", reference=" ".join(["clear"] * (i + 1)), images=("a.png",)) for i in range(3)]


def test_every_study_is_scored_once_and_nothing_is_kept_unasked(scorer, studies, tmp_path):
    evaluation = evaluate(Repeats(), Builder(), scorer, studies, samples=0)
    assert evaluation.metrics["reward"] == 2.0  # (1 + 2 + 3) / 3
    assert evaluation.metrics["verbosity/mean"] == 1.0
    assert evaluation.samples == []
    write_samples(evaluation, tmp_path / "samples" / "before.jsonl")
    assert not (tmp_path / "samples").exists()


def test_samples_are_the_first_studies_with_their_own_reports(scorer, studies, tmp_path):
    evaluation = evaluate(Repeats(), Builder(), scorer, studies, samples=2)
    assert [(row["study_id"], row["candidate"], row["reward"]) for row in evaluation.samples] == [
        ("s0", "clear", 1.0),
        ("s1", "clear clear", 2.0),
    ]
    path = tmp_path / "samples" / "before.jsonl"
    write_samples(evaluation, path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == evaluation.samples and rows[0]["scores"] == {"words": {"value": 1.0, "letters": 5.0}}
    assert [p.name for p in path.parent.iterdir()] == ["before.jsonl"]


def test_a_full_disk_leaves_the_samples_of_before_and_no_leftovers(scorer, studies, tmp_path, full_disk):
    evaluation = evaluate(Repeats(), Builder(), scorer, studies, samples=2)
    (tmp_path / "s.jsonl").write_text("before")
    with pytest.raises(OSError), full_disk(10):
        write_samples(evaluation, tmp_path / "s.jsonl")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("s.jsonl", "before")]


def test_samples_with_any_text_can_be_written(scorer, make_study, tmp_path):
    study = make_study(reference="\u200fno effusion \U0001fac1 \udcff", images=(b"bytes of an image",))
    evaluation = evaluate(Repeats(), Builder(), scorer, [study], samples=1)
    write_samples(evaluation, tmp_path / "s.jsonl")
    assert json.loads((tmp_path / "s.jsonl").read_text())["image"] == ""


def test_an_unreadable_study_is_an_error(scorer, studies, make_study):
    from dataclasses import replace

    with pytest.raises(OSError, match="no such image"):
        evaluate(Repeats(), Builder(), scorer, [*studies, replace(make_study(), indication="unreadable")], samples=0)


def test_no_held_out_study_gives_no_metric(scorer):
    assert evaluate(Repeats(), Builder(), scorer, [], samples=4).metrics == {}
