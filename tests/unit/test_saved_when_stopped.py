"""Whatever ends a run, the last complete step is saved if the policy is that step's; otherwise nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from judges.base import Score
from online_rl import checkpoint
from online_rl.config import config_from_dict
from online_rl.data.sampler import StudySampler
from online_rl.errors import CheckpointError, DataError, EngineFailed, JudgeError, NonFiniteUpdate, PolicyMismatch
from online_rl.monitor import Monitor
from online_rl.rollout.types import Rollouts
from online_rl.scoring import Scorer
from tests.unit.loops import loop_of
from tests.unit.test_loop import Builder, Engine, Policy


class Flat:
    name = "flat"

    def __init__(self) -> None:
        self.raises: BaseException | None = None

    def score(self, cases):
        if self.raises:
            raise self.raises
        return [Score(1.0) for _ in cases]


class Counts(Policy):
    """Counts its updates, and writes their number."""

    def __init__(self, engine) -> None:
        self.engine, self.version = engine, 0
        self.before: BaseException | None = None
        self.after: BaseException | None = None

    def update(self, batch, step):
        if self.before:
            raise self.before
        self.version += 1
        self.engine.version = self.version
        if self.after:
            raise self.after
        return {}

    def save(self, folder):
        (folder / "weights").write_text(str(self.version))


class Dies(Engine):
    raises: BaseException | None = None

    def generate(self, prompts, step, version, resampled=0):
        rollouts = super().generate(prompts, step, version)
        if self.raises:
            rollouts = Rollouts(self.dying(), len(prompts), 2, version)
        return rollouts

    def dying(self):
        raise self.raises
        yield


@pytest.fixture
def parts(tmp_path, make_study):
    """A loop that has taken two steps, and its parts."""
    cfg = config_from_dict(
        {
            "run": {"dir": str(tmp_path)},
            "rollout": {"studies_per_step": 2, "group_size": 2},
            "scoring": {"canary_every": 0, "price_studies": 0},
            "monitor": {"tensorboard": False},
            "train": {"max_steps": 9, "save_every": 100},
        }
    )
    engine, judge = Dies(), Flat()
    policy, scorer = Counts(engine), Scorer([(judge, 1.0)], cfg)
    loop = loop_of(
        cfg,
        train=[make_study(f"s{i}", reference="clear lungs") for i in range(4)],
        held_out=[],
        sampler=StudySampler(4, 2, 0),
        builder=Builder(),
        engine=engine,
        scorer=scorer,
        policy=policy,
        monitor=Monitor(tmp_path, 9, enabled=False, tensorboard=False),
    )
    loop.evaluator.evaluate = lambda *_, **__: pytest.fail("not asked for")
    loop.evaluator.is_missing = lambda step: False
    loop.one_step()
    loop.one_step()
    yield loop, engine, judge, policy
    scorer.close()


def saved(tmp_path: Path) -> checkpoint.Checkpoint | None:
    return checkpoint.find_newest(tmp_path, pytest.fail)


FAULTS = {
    "a reward that raises": (ValueError("x"), JudgeError),
    "a reward that exits": (SystemExit(0), JudgeError),
    "an engine that dies": (EngineFailed("x"), EngineFailed),
    "an image that is damaged": (DataError("x"), DataError),
    "an unexpected exception": (ZeroDivisionError("x"), ZeroDivisionError),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_last_complete_step_is_saved_before_the_run_ends(parts, tmp_path, fault):
    loop, engine, judge, _ = parts
    raised, seen = FAULTS[fault]
    if "reward" in fault:
        judge.raises = raised
    elif "image" in fault:
        loop.collector.builder.build_all = lambda studies, spare: (_ for _ in ()).throw(raised)
    else:
        engine.raises = raised
    position = loop.collector.sampler.state_dict()
    with pytest.raises(seen):
        loop.run()
    found = saved(tmp_path)
    assert found is not None and found.step == 2 and (found.folder / "weights").read_text() == "2"
    assert found.state["sampler"] == position, "the step that was not learned from is drawn again"


def test_a_refused_update_leaves_the_step_before_it_whole(parts, tmp_path):
    loop, _, _, policy = parts
    policy.before = NonFiniteUpdate("x")
    with pytest.raises(NonFiniteUpdate):
        loop.run()
    found = saved(tmp_path)
    assert found is not None and (found.step, (found.folder / "weights").read_text()) == (2, "2")


def test_a_policy_between_two_steps_is_not_saved(parts, tmp_path):
    loop, _, _, policy = parts
    policy.after = PolicyMismatch("x")
    with pytest.raises(PolicyMismatch):
        loop.run()
    assert saved(tmp_path) is None


def test_an_error_that_other_ranks_do_not_know_of_saves_nothing(parts, tmp_path, monkeypatch):
    """They are elsewhere: a save, which all take part in, would wait for them."""
    loop, _, _, policy = parts

    def update(batch, step):
        monkeypatch.setattr("online_rl.ranks.collectives.world_size", lambda: 2)
        raise ZeroDivisionError("in one rank's loss")

    policy.update = update
    with pytest.raises(ZeroDivisionError):
        loop.run()
    assert not (tmp_path / "checkpoints").exists()


def test_a_save_that_failed_is_not_tried_again(parts, monkeypatch):
    loop, _, _, _ = parts
    asked = []

    def full(step):
        asked.append(step)
        raise CheckpointError("disk full")

    monkeypatch.setattr(loop.checkpoints, "save", full)
    loop.cfg.train.save_every = 1
    with pytest.raises(CheckpointError):
        loop.run()
    assert asked == [3]


def test_a_save_that_fails_on_the_way_out_hides_no_error(parts, monkeypatch):
    loop, _, judge, _ = parts
    judge.raises = ValueError("x")
    monkeypatch.setattr(loop.checkpoints, "save", lambda step: (_ for _ in ()).throw(CheckpointError("disk full")))
    with pytest.raises(JudgeError, match="raised ValueError"):
        loop.run()
