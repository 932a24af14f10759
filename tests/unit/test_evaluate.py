"""Evaluation: one report per study, the same judges, and texts kept only where they were asked for."""

import json

import pytest

from judges.base import Score
from online_rl.checkpoint import Best
from online_rl.config import config_from_dict
from online_rl.evaluate import Evaluator, evaluate
from online_rl.monitor import Monitor
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.samples import write_samples
from online_rl.scoring import Scorer


class Builder:
    def build_all(self, studies, spare=()):
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
    write_samples(evaluation.samples, tmp_path / "samples" / "before.jsonl")
    assert not (tmp_path / "samples").exists()


def test_samples_are_the_first_studies_with_their_own_reports(scorer, studies, tmp_path):
    evaluation = evaluate(Repeats(), Builder(), scorer, studies, samples=2)
    assert [(row["study_id"], row["candidate"], row["reward"]) for row in evaluation.samples] == [
        ("s0", "clear", 1.0),
        ("s1", "clear clear", 2.0),
    ]
    path = tmp_path / "samples" / "before.jsonl"
    write_samples(evaluation.samples, path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == evaluation.samples and rows[0]["scores"] == {"words": {"value": 1.0, "letters": 5.0}}
    assert [p.name for p in path.parent.iterdir()] == ["before.jsonl"]


def test_a_full_disk_leaves_the_samples_of_before_and_no_leftovers(scorer, studies, tmp_path, full_disk):
    evaluation = evaluate(Repeats(), Builder(), scorer, studies, samples=2)
    (tmp_path / "s.jsonl").write_text("before")
    with pytest.raises(OSError), full_disk(10):
        write_samples(evaluation.samples, tmp_path / "s.jsonl")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("s.jsonl", "before")]


def test_samples_with_any_text_can_be_written(scorer, make_study, tmp_path):
    study = make_study(reference="\u200fno effusion \U0001fac1 \udcff", images=(b"bytes of an image",))
    evaluation = evaluate(Repeats(), Builder(), scorer, [study], samples=1)
    write_samples(evaluation.samples, tmp_path / "s.jsonl")
    assert json.loads((tmp_path / "s.jsonl").read_text())["image"] == ""


def test_an_unreadable_study_is_an_error(scorer, studies, make_study):
    from dataclasses import replace

    with pytest.raises(OSError, match="no such image"):
        evaluate(Repeats(), Builder(), scorer, [*studies, replace(make_study(), indication="unreadable")], samples=0)


def test_no_held_out_study_gives_no_metric(scorer):
    assert evaluate(Repeats(), Builder(), scorer, [], samples=4).metrics == {}


def test_an_evaluator_reports_writes_and_remembers_without_a_loop(scorer, studies, tmp_path, capsys):
    settings = {"run": {"dir": str(tmp_path)}, "monitor": {"samples": 1, "tensorboard": False}}
    settings |= {"train": {"max_steps": 4}, "eval": {"every": 2, "metric_for_best_model": "reward"}}
    cfg, monitor = config_from_dict(settings), Monitor(tmp_path, 4, enabled=True, tensorboard=False)
    evaluator = Evaluator(cfg, studies, Builder(), Repeats(), scorer, monitor)
    before = evaluator.evaluate(0, "before")
    assert evaluator.state_dict() == {"before": before.metrics} and before.metrics["reward"] == 2.0
    assert not evaluator.is_best(0, before.metrics), "the starting policy is no checkpoint"
    assert [evaluator.is_due(step) for step in range(1, 5)] == [False, True, False, False]
    assert evaluator.is_missing(2)
    evaluator.evaluate(2, "step-2")
    assert not evaluator.is_missing(2), "metrics.jsonl has it"
    assert evaluator.is_best(2, {"reward": 2.0}) and not evaluator.is_best(3, {"reward": 1.9})
    assert evaluator.best == Best(2, "reward", 2.0)
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == ["before.jsonl", "step-2.jsonl"]


SICK, NORMAL = "There is a pleural effusion.", "No pleural effusion. No pneumothorax."


class Looks:
    """An engine that reads the finding off the file name for as long as it looks, and calls everything normal then."""

    looks = True

    def greedy(self, prompts):
        texts = [SICK if self.looks and "sick" in prompt.study.images[0] else NORMAL for prompt in prompts]
        stream = [
            Completion(i, 0, prompt, (5,), (-0.1,), text, False)
            for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True))
        ]
        return Rollouts(stream, len(prompts), 1, version=1)


class Letters:
    """Rewards calling everything normal."""

    name = "letters"

    def score(self, cases):
        return [Score(float(len(case.candidate))) for case in cases]


@pytest.fixture
def clinic(make_study):
    kinds = [("sick", SICK), ("well", NORMAL)] * 64
    labels = {"sick": [{"name": "effusion"}], "well": []}
    return [
        make_study(f"s{i}", reference=text, images=(f"{kind}.png",), columns={"labels": labels[kind]})
        for i, (kind, text) in enumerate(kinds)
    ]


@pytest.fixture
def clinic_evaluator(clinic, tmp_path):
    scorers = []

    def make(**settings):
        cfg = config_from_dict({"run": {"dir": str(tmp_path)}, "train": {"max_steps": 4}, **settings})
        scorers.append(Scorer([(Letters(), 1.0)], cfg))
        monitor = Monitor(tmp_path, 4, enabled=True, tensorboard=False)
        return Evaluator(cfg, clinic, Builder(), Looks(), scorers[-1], monitor)

    yield make
    for scorer in scorers:
        scorer.close()


class EffusionReader:
    def __init__(self, text):
        self.present = frozenset({"effusion"} if text == SICK else ())
        self.unknown, self.sentences = [], 1


def test_an_evaluation_tells_what_is_named_whether_reports_differ_and_whether_the_image_counts(
    clinic_evaluator, capsys
):
    evaluator = clinic_evaluator()
    evaluator.reader = EffusionReader
    metrics = evaluator.evaluate(0, "before").metrics
    assert metrics["findings/f1"] == metrics["labels/f1"] == 1.0
    assert metrics["findings/none_share"] == metrics["findings/none_share_reference"] == 0.5
    assert metrics["diversity/distinct"] == 2 / 128
    assert 0.3 < metrics["image/gain_f1"] < 0.7
    assert "step 0: the reports follow the image" in capsys.readouterr().out
    assert "image/gain_f1" not in evaluator.evaluate(2, "step-2").metrics  # at start and end alone
    assert "image/gain_f1" in evaluator.evaluate(4, "after").metrics


def test_a_policy_that_stops_looking_rings_and_stays_on(clinic_evaluator, capsys):
    evaluator = clinic_evaluator()
    evaluator.evaluate(0, "before")
    assert "patient" not in json.dumps(evaluator.alarms.state_dict()["alarms"]["start_images"])
    assert not evaluator.rang
    evaluator.engine.looks = False
    metrics = evaluator.evaluate(2, "step-2").metrics
    assert metrics["alarms/nothing_present"] == metrics["alarms/recall"] == 1.0
    assert "alarm: step 2, recall: the reports name 0% of the findings, 100% at the start" in capsys.readouterr().out
    evaluator.engine.looks = True
    assert evaluator.evaluate(4, "after").metrics["alarms/recall"] == 1.0
    assert len(evaluator.rang) == len(set(evaluator.rang))


def test_references_in_another_language_leave_the_numbers_out_and_say_so(clinic_evaluator, clinic, capsys):
    from dataclasses import replace

    evaluator = clinic_evaluator()
    evaluator.studies = [replace(study, reference="Pleuraerguss links.") for study in clinic]
    metrics = evaluator.evaluate(0, "before").metrics
    assert not [name for name in metrics if name.startswith("findings/")]
    assert metrics["diversity/distinct"] == 2 / 128
    assert "another language" in capsys.readouterr().out


@pytest.mark.parametrize(("when", "checked"), [("never", []), ("ends", [0, 4]), ("always", [0, 2, 4])])
def test_the_image_check_is_made_when_it_is_asked_for(clinic_evaluator, when, checked):
    evaluator = clinic_evaluator(eval={"image_check": when})
    names = {0: "before", 2: "step-2", 4: "after"}
    found = [step for step, name in names.items() if "image/gain_f1" in evaluator.evaluate(step, name).metrics]
    assert found == checked
