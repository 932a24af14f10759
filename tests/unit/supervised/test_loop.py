"""The supervised loop over stand-ins for policy and targets: the walk through the data, stops, and what is saved."""

from __future__ import annotations

import math

import pytest

from online_rl.checkpoint import Checkpoints, find
from online_rl.config import config_from_dict
from online_rl.data.sampler import StudySampler
from online_rl.errors import CheckpointError, DataError
from online_rl.metric_types import Mean, values
from online_rl.monitor import Monitor
from online_rl.provenance import Provenance
from online_rl.ranks.stop import StopRequest
from online_rl.supervised.held_out import HeldOut
from online_rl.supervised.lessons import Lessons
from online_rl.supervised.loop import SupervisedLoop

SEEN = Provenance({}, {"train": {}, "eval": {}}, "", "supervised")


class Targets:
    """A completion of two tokens per study; fails at the study that `bad` names."""

    def __init__(self, make_completion):
        self.make_completion, self.bad = make_completion, None

    def build_all(self, studies, spare=()):
        if self.bad in [s.study_id for s in studies]:
            raise DataError(f"{self.bad}: broken")
        return [self.make_completion((5, 2), study=study, group=i) for i, study in enumerate(studies)]


class Policy:
    """Notes what it learns from; its loss falls by 0.1 with each update."""

    def __init__(self):
        self.version, self.learned = 0, []

    def update(self, batch, step):
        self.version += 1
        self.learned.append([unit[0].prompt.study.study_id for unit in batch.units])
        return values(batch.counts) | {"loss": self.loss, "mean_token_accuracy": 0.5, "learning_rate": 0.1}

    def measure(self, batch):
        return {"loss": Mean(self.loss * len(batch.units), len(batch.units)), "mean_token_accuracy": Mean(0.5, 1.0)}

    @property
    def loss(self):
        return 2.0 - 0.1 * self.version

    def save(self, folder):
        (folder / "version").write_text(str(self.version))

    def load(self, folder):
        self.version = int((folder / "version").read_text())


@pytest.fixture
def make_loop(tmp_path, make_study, make_completion):
    def make(**train) -> SupervisedLoop:
        train = {"max_steps": 6, "save_every": 2, **train}
        cfg = config_from_dict(
            {"run": {"dir": str(tmp_path)}, "train": train, "eval": {"every": 4}, "resume": "auto", "sft": {}}
        )
        studies = [make_study(f"s{i}") for i in range(5)]
        targets, policy = Targets(make_completion), Policy()
        monitor = Monitor(tmp_path, cfg.train.max_steps, enabled=True, tensorboard=False)
        lessons = Lessons(studies, StudySampler(5, 2, seed=0), targets)
        held_out = HeldOut(studies[:3], targets, policy, monitor, together=2)
        checkpoints = Checkpoints(cfg, policy, [lessons, held_out, SEEN])
        return SupervisedLoop(cfg, lessons, policy, held_out, checkpoints, monitor, StopRequest(cfg.train.stop_after))

    return make


def warn(message):
    pytest.fail(message)


def test_a_run_measures_before_and_after_and_saves(make_loop, capsys):
    loop = make_loop()
    before, after = loop.run()
    assert (before["loss"], after["loss"]) == (2.0, pytest.approx(1.4))  # six updates
    assert after["perplexity"] == pytest.approx(math.exp(1.4))
    assert [folder.name for folder in sorted((loop.run_dir / "checkpoints").iterdir())] == ["step-4", "step-6"]
    said = capsys.readouterr().out
    assert "eval at step 4  loss 1.600  perplexity 4.953  accuracy 0.500" in said and "step 6/6  loss" in said


def test_a_resumed_run_reads_the_same_studies(make_loop):
    whole = make_loop()
    whole.run()
    folder = whole.run_dir / "checkpoints"
    for left in [*folder.iterdir(), whole.run_dir / "metrics.jsonl"]:
        left.rename(whole.run_dir / f"gone-{left.name}")
    first = make_loop(stop_after=3)
    assert first.run() is None and first.step == 3
    second = make_loop()
    second.restore(find(second.cfg, warn, SEEN))
    assert second.run() is not None
    assert first.policy.learned + second.policy.learned == whole.policy.learned
    assert second.lessons.num_tokens == whole.lessons.num_tokens == 6 * 2 * 5  # prompts of 3 and reports of 2
    assert second.held_out.before["loss"] == 2.0  # of the starting policy


def test_an_error_saves_the_last_complete_step(make_loop):
    loop = make_loop(save_every=100)
    loop.held_out.studies = []
    order = StudySampler(5, 2, seed=0)
    drawn = [order.next_batch() for _ in range(3)]
    loop.lessons.targets.bad = f"s{next(i for i in drawn[1] if i not in drawn[0])}"
    with pytest.raises(DataError, match="broken"):
        loop.run()
    found = find(make_loop().cfg, warn, SEEN)
    assert found is not None and found.step == 1
    again = make_loop()
    again.restore(found)
    again.one_step()
    assert [int(name[1:]) for name in again.policy.learned[0]] == drawn[1]  # the step that failed comes again


def test_without_held_out_studies_there_is_nothing_to_measure(make_loop):
    loop = make_loop(max_steps=1)
    loop.held_out.studies = []
    assert loop.run() == ({}, {})


def test_the_other_stage_is_refused_by_name(make_loop):
    loop = make_loop(max_steps=1)
    loop.run()
    online = Provenance({}, SEEN.data, "")
    with pytest.raises(CheckpointError, match="found a checkpoint of `online-rl sft`, expected one of online training"):
        find(loop.cfg, warn, online)
    loop.checkpoints.parts = [*loop.checkpoints.parts[:2], online]
    loop.policy.version = loop.step = 2
    loop._save()
    with pytest.raises(CheckpointError, match="found a checkpoint of online training, expected one of `online-rl sft`"):
        find(loop.cfg, warn, SEEN)


def test_studies_are_measured_in_parts_and_weigh_alike(make_loop):
    """Three studies, two at a time: the mean is over all of them."""
    loop = make_loop()
    sizes = []
    loop.policy.measure = lambda batch: (
        sizes.append(len(batch.units))
        or {"loss": Mean(sum(float(unit[0].prompt.study.study_id[1:]) for unit in batch.units), len(batch.units))}
    )
    assert loop.held_out.measure(0, "before")["loss"] == pytest.approx(1.0)  # of 0, 1 and 2
    assert sizes == [2, 1]
