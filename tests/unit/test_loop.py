"""The loop over small parts: judges adapt once per step, and a resumed loop goes on with them as they were."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from judges.base import Score
from judges.length import LengthControlled
from online_rl import checkpoint
from online_rl.config import config_from_dict
from online_rl.data.sampler import StudySampler
from online_rl.loop import Loop
from online_rl.monitor import Monitor
from online_rl.monitor.step import Step
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.scoring import Scorer
from tests.unit.loops import loop_of


class Builder:
    def prepare(self, studies): ...

    def build_all(self, studies, spare=()):
        return [Prompt(study, "", (), (1, 2, 3), {}) for study in studies]


class Engine:
    """Writes 3 and 6 words where the reference report has 2: a mean verbosity of 2.25."""

    version, asleep = 0, False

    def generate(self, prompts, step, version, resampled=0):
        stream = [
            Completion(g, i, prompt, (5, 6), (-0.1, -0.1), " ".join(["clear"] * words), False)
            for g, prompt in enumerate(prompts)
            for i, words in enumerate((3, 6))
        ]
        return Rollouts(stream, len(prompts), 2, version)

    def sleep(self) -> None: ...


class Policy:
    """Learns nothing, and saves one file."""

    version, ref_model = 0, None

    def update(self, batch, step):
        return {}

    def save(self, folder):
        (folder / "weights").write_bytes(b"w")

    def load(self, folder):
        assert (folder / "weights").read_bytes() == b"w"


class Flat:
    name = "flat"

    def score(self, cases):
        return [Score(1.0) for _ in cases]


@pytest.fixture
def make_loop(tmp_path, make_study):
    scorers = []

    def make() -> Loop:
        cfg = config_from_dict(
            {
                "run": {"dir": str(tmp_path)},
                "rollout": {"studies_per_step": 2, "group_size": 2},
                "scoring": {"canary_every": 0},
                "monitor": {"tensorboard": False},
                "resume": "auto",
            }
        )
        band = LengthControlled(Flat(), "target_band", args={"high": 1.25, "rate": 0.5})
        scorers.append(Scorer([(band, 1.0)], cfg))
        parts: dict[str, Any] = {"builder": Builder(), "engine": Engine(), "policy": Policy()}
        return loop_of(
            cfg,
            train=[make_study(f"s{i}", reference="clear lungs") for i in range(4)],
            held_out=[],
            sampler=StudySampler(4, 2, 0),
            scorer=scorers[-1],
            monitor=Monitor(tmp_path, 4, enabled=False, tensorboard=False),
            **parts,
        )

    yield make
    for scorer in scorers:
        scorer.close()


def multiplier(loop: Loop) -> float:
    return loop.collector.scorer.judges[0][0].rule.multiplier  # type: ignore[attr-defined]


def test_the_prompts_of_the_next_step_are_prepared_before_the_policy_learns(make_loop):
    told: list[tuple[str, list[str]]] = []

    class Told(Builder):
        def prepare(self, studies):
            told.append(("prepared", [s.study_id for s in studies]))

        def build_all(self, studies, spare=()):
            told.append(("built", [s.study_id for s in studies]))
            return super().build_all(studies, spare)

    class Learns(Policy):
        def update(self, batch, step):
            told.append(("learned", []))
            return {}

    loop = make_loop()
    loop.collector.builder, loop.policy = Told(), Learns()
    loop.cfg.train.max_steps = 3
    for _ in range(3):
        loop.one_step()
    kinds = [kind for kind, _ in told]
    assert kinds == ["built", "prepared", "learned"] * 2 + ["built", "learned"], "nothing behind the last step"
    studies = {kind: [ids for k, ids in told if k == kind] for kind in ("built", "prepared")}
    assert studies["prepared"] == studies["built"][1:]


def test_the_multiplier_moves_once_per_step_and_survives_a_checkpoint(make_loop):
    whole = make_loop()
    seen = []
    for _ in range(4):
        whole.one_step()
        seen.append(multiplier(whole))
    assert seen == [0.5, 1.0, 1.5, 2.0]  # + 0.5 * (2.25 - 1.25) each time

    first = make_loop()
    first.one_step()
    first.one_step()
    first.checkpoints.save(first.step)
    again = make_loop()
    found = checkpoint.find(again.cfg, pytest.fail)
    assert found is not None
    again.restore(found)
    assert (again.step, multiplier(again)) == (2, 1.0)
    again.one_step()
    assert multiplier(again) == 1.5


def test_a_rank_without_a_study_that_can_be_shown_samples_those_behind_it_in_the_data(make_loop):
    loop = make_loop()
    shown: list[list[str]] = []

    class SecondHalfIsDamaged(Builder):
        def build_all(self, studies, spare=()):
            whole = [s for s in studies if s.study_id not in ("s2", "s3")]
            whole = whole or [next(s for s in spare if s.study_id not in ("s2", "s3"))]
            shown.append([s.study_id for s in whole])
            return super().build_all(whole)

    loop.collector.builder = SecondHalfIsDamaged()
    studies = loop.collector.studies
    for last, first_whole in ((2, "s0"), (3, "s0")):
        loop.collector._ask([studies[last]], 1, canaries=False)
        assert shown[-1] == [first_whole]
    loop.collector._ask([studies[1], studies[2]], 1, canaries=False)
    assert shown[-1] == ["s1"], "one that can be shown is enough"


def test_a_checkpoint_says_whether_the_base_model_was_a_folder(make_loop, tmp_path, monkeypatch):
    """`models/mine` names a folder only where the run was started."""
    monkeypatch.chdir(tmp_path)
    loop = make_loop()
    loop.cfg.model.path = "models/mine"
    for step, there in ((1, False), (2, True)):
        loop.one_step()
        if there:
            (tmp_path / "models" / "mine").mkdir(parents=True)
        loop.checkpoints.save(loop.step)
        assert checkpoint.open_complete(tmp_path / "checkpoints" / f"step-{step}").state["model_is_local"] is there


class Reader(Policy):
    """One whose ref_model could read ahead for ever; each pass takes 10 ms, and `enough` is set after six."""

    ref_model = SimpleNamespace()

    def __init__(self, engine) -> None:
        self.engine, self.passes, self.enough = engine, 0, threading.Event()

    def read_ahead(self, completions):
        assert len(completions) == 4 and self.engine.sleeps == 1, "all of the step, in the memory that vLLM gives back"
        while True:
            time.sleep(0.01)
            self.passes += 1
            if self.passes == 6:
                self.enough.set()
            yield


class Sleepy(Engine):
    sleeps = 0

    def sleep(self) -> None:
        self.sleeps += 1


class Slow(Flat):
    answers_at = threading.Event()  # or after half a second

    def score(self, cases):
        self.answers_at.wait(0.5 if self.answers_at is Slow.answers_at else 30)
        return super().score(cases)


@pytest.fixture
def waiting_loop(make_loop):
    """A loop whose judge takes half a second for each of the step's 4 candidates, which it judges beside each other."""
    loop = make_loop()
    engine, scorer = Sleepy(), Scorer([(Slow(), 1.0)], loop.cfg)
    loop.collector.engine = loop.weights.engine = engine
    loop.policy = loop.collector.policy = loop.weights.policy = Reader(engine)
    loop.collector.scorer = scorer
    yield loop
    scorer.close()


def test_the_ref_model_reads_until_the_last_score_is_there(waiting_loop, monkeypatch):
    monkeypatch.setattr("online_rl.collect.PATIENCE_S", 0.1)
    [(judge, _)] = waiting_loop.collector.scorer.judges
    judge.answers_at = waiting_loop.policy.enough
    waiting_loop.one_step()
    assert waiting_loop.policy.passes >= 6, "and then it ends, although it could go on for ever"


@pytest.mark.parametrize("why", ["off", "resampling", "no ref_model", "nothing to wait for"])
def test_where_nothing_can_be_read_ahead_nothing_is(waiting_loop, monkeypatch, why):
    loop = waiting_loop
    monkeypatch.setattr("online_rl.collect.PATIENCE_S", 30.0 if why == "nothing to wait for" else 0.0)
    if why == "off":
        loop.cfg.debug.read_ahead = False
    elif why == "resampling":
        loop.cfg.algorithm.resample_rounds = 1
    elif why == "no ref_model":
        loop.collector.policy.ref_model = None
    loop.collector.collect(Step(1))
    assert loop.policy.passes == 0
    assert loop.collector.engine.sleeps == 1, "before the update, not before the scores are there"
