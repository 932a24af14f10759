"""One step behind: judges have until the next step is sampled, learning is one update late, and nothing is lost."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from judges.base import Score
from online_rl import checkpoint
from online_rl.algorithms import make_algorithm
from online_rl.config import config_from_dict
from online_rl.data.sampler import StudySampler
from online_rl.errors import CheckpointError, ConfigError
from online_rl.monitor import Monitor
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.scoring import Scorer
from online_rl.scoring.setup import refuse_late_adapting
from tests.unit.loops import loop_of

STUDIES, GROUP, STEPS = 12, 2, 5


class Builder:
    def prepare(self, studies): ...

    def build_all(self, studies, spare=()):
        return [Prompt(study, "", (), (1, 2, 3), {}) for study in studies]


class Engine:
    """Writes what nobody could guess: policy version, step, study and candidate."""

    asleep = can_sleep = must_verify = False

    def __init__(self):
        self.version, self.sampled = 0, []

    def generate(self, prompts, step, version, resampled=0):
        assert version == self.version
        self.sampled.append((step, version))
        stream = [
            Completion(
                g, i, prompt, (step, i), (-0.1 * step, -1 / 3), f"v{version} t{step} {prompt.study.study_id} {i}", False
            )
            for g, prompt in enumerate(prompts)
            for i in range(GROUP)
        ]
        return Rollouts(stream, len(prompts), GROUP, version)

    def load_weights(self, weights, version):
        self.version = version

    def sleep(self) -> None: ...
    def wake(self, part) -> None: ...


class Policy:
    """Writes down what it learns from; each update makes it another policy."""

    ref_model = None

    def __init__(self):
        self.version, self.learned = 0, []

    def update(self, batch, step):
        texts = [(completion.text, completion.ids, completion.logprobs) for (completion,) in batch.units]
        self.learned.append((step, self.version, texts, batch.advantages))
        self.version += 1
        return {}

    def trained_weights(self):
        return ()

    def save(self, folder):
        (folder / "weights").write_text(str(self.version))

    def load(self, folder):
        self.version = int((folder / "weights").read_text())


class Judge:
    name = "judge"

    def score(self, cases):
        return [Score(sum(map(ord, case.candidate)) % 7 / 7) for case in cases]


class Patient(Judge):
    """Answers for a step only when the next one has been sampled."""

    def __init__(self, engine):
        self.engine = engine

    def score(self, cases):
        for case in cases:
            step = int(case.candidate.split()[1][1:])
            if step < STEPS:
                assert _until(lambda step=step: (step + 1) in [number for number, _ in self.engine.sampled])
        return super().score(cases)


def _until(true, seconds=10.0):
    ended = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if true():
            return True
        ended.wait(0.01)
    return False


@pytest.fixture
def make_loop(tmp_path, make_study):
    scorers: list[Scorer] = []

    def make(folder="run", behind=1, judge: Any = None, names=None):
        cfg = config_from_dict(
            {
                "run": {"dir": str(tmp_path / folder)},
                "rollout": {"studies_per_step": 2, "group_size": GROUP},
                "scoring": {"canary_every": 0, "behind": behind},
                "train": {"max_steps": STEPS},
                "monitor": {"tensorboard": False},
                "resume": "auto",
            }
        )
        engine = Engine()
        scorers.append(Scorer([(judge(engine) if judge else Judge(), 1.0)], cfg))
        return loop_of(
            cfg,
            train=[make_study(name, reference="clear lungs") for name in names or [f"s{i}" for i in range(STUDIES)]],
            held_out=[],
            sampler=StudySampler(STUDIES, 2, 0),
            builder=Builder(),
            engine=engine,
            scorer=scorers[-1],
            policy=Policy(),
            monitor=Monitor(tmp_path / folder, STEPS, enabled=False, tensorboard=False),
        )

    yield make
    for scorer in scorers:
        scorer.close()


def steps(loop, count):
    for _ in range(count):
        loop.one_step()
    return loop


def sampled(loop):
    """(step, version of the policy that sampled it), in the order of sampling."""
    return loop.collector.engine.sampled


def restored(loop):
    found = checkpoint.find(loop.cfg, pytest.fail)
    assert found is not None
    loop.restore(found)
    return loop


def test_judges_may_wait_for_the_next_step_to_be_sampled(make_loop):
    """In step with the policy this judge would never answer."""
    loop = steps(make_loop(judge=Patient), STEPS)
    assert [step for step, *_ in loop.policy.learned] == [1, 2, 3, 4, 5]


def test_each_step_learns_from_candidates_that_are_one_update_old(make_loop):
    loop = steps(make_loop(), STEPS)
    assert sampled(loop) == [(1, 0), (2, 0), (3, 1), (4, 2), (5, 3)], "each once, and none for a sixth step"
    for step, version, texts, _ in loop.policy.learned:
        sampled_by = max(0, step - 2)
        assert version == step - 1
        assert {text.split()[0] for text, *_ in texts} == {f"v{sampled_by}"}
        assert {text.split()[1] for text, *_ in texts} == {f"t{step}"}


def test_at_zero_nothing_is_sampled_early(make_loop):
    loop = steps(make_loop(behind=0), STEPS)
    assert sampled(loop) == [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)]


def test_the_same_studies_with_the_same_numbers_in_the_same_steps(make_loop):
    """What is learned from differs by the policy that wrote it, and by nothing else."""
    late, prompt = steps(make_loop("late"), STEPS), steps(make_loop("prompt", behind=0), STEPS)
    for one, other in zip(late.policy.learned, prompt.policy.learned, strict=True):
        assert [text.split()[1:] for text, *_ in one[2]] == [text.split()[1:] for text, *_ in other[2]]


@pytest.mark.parametrize("until", [1, 2, 4])
def test_a_resumed_run_learns_what_an_uninterrupted_one_learns(make_loop, until):
    whole = steps(make_loop("whole"), STEPS)
    steps(first := make_loop(), until).checkpoints.save(until)
    again = steps(restored(make_loop()), STEPS - until)
    assert first.policy.learned + again.policy.learned == whole.policy.learned
    assert sampled(first) + sampled(again) == sampled(whole), "nothing is sampled twice"
    assert again.collector.num_tokens == whole.collector.num_tokens


def test_a_save_in_the_middle_of_a_step_is_of_its_start(make_loop):
    """As after a judge that has failed: the step begins again, with the candidates that it had."""
    whole = steps(make_loop("whole"), STEPS)
    broken = steps(make_loop(), 2)

    class Broken(RuntimeError): ...

    def fails(asked):
        raise Broken

    broken.collector.scorer.scored = fails
    with pytest.raises(Broken):
        broken.one_step()
    assert sampled(broken)[-1] == (4, 2), "the step after it had been sampled"
    broken.checkpoints.save(2)
    again = steps(restored(make_loop()), STEPS - 2)
    assert again.policy.learned == whole.policy.learned[2:]


def test_a_run_that_ends_before_its_next_step_keeps_what_it_was_given(make_loop, tmp_path):
    """A checkpoint that was read and is written elsewhere, with no step between."""
    steps(make_loop(), 2).checkpoints.save(2)
    between = restored(make_loop())
    between.cfg.run.dir = str(tmp_path / "elsewhere")
    between.checkpoints.save(2)
    names = ["run", "elsewhere"]
    first, second = (tmp_path / name / "checkpoints" / "step-2" / "ahead-rank-0.json" for name in names)
    assert json.loads(first.read_text()) == json.loads(second.read_text())


def test_reports_in_a_checkpoint_are_for_the_user_alone(make_loop, tmp_path):
    steps(make_loop(), 1).checkpoints.save(1)
    file = tmp_path / "run" / "checkpoints" / "step-1" / "ahead-rank-0.json"
    assert "v0 t2" in file.read_text() and file.stat().st_mode & 0o077 == 0
    steps(make_loop("prompt", behind=0), 1).checkpoints.save(1)
    assert not list((tmp_path / "prompt").rglob("ahead*")), "no report is written where none is ahead"


def test_a_study_that_has_gone_is_named(make_loop):
    steps(make_loop(), 1).checkpoints.save(1)
    other = make_loop(names=[f"other{i}" for i in range(STUDIES)])
    other.collector.load_files(checkpoint.find(other.cfg, pytest.fail).folder)
    with pytest.raises(CheckpointError, match=r"data: .*sampled for study s\d+, which the data lack"):
        other.one_step()


def test_a_study_whose_image_decodes_no_longer_is_left_out_and_the_others_are_learned_from(make_loop):
    steps(make_loop(), 1).checkpoints.save(1)
    other = make_loop()
    other.collector.load_files(checkpoint.find(other.cfg, pytest.fail).folder)
    plain = other.collector.builder.build_all
    other.collector.builder.build_all = lambda studies, spare=(): plain(studies[1:], spare)
    other.one_step()
    [(_, _, texts, _)] = other.policy.learned
    assert len(texts) == GROUP


def test_the_step_says_how_old_its_candidates_were(make_loop):
    seen = []
    loop = make_loop()
    loop.monitor.log_step = lambda step, scores, groups, metrics: seen.append(metrics)
    steps(loop, 3)
    assert [metrics["sampling/staleness"] for metrics in seen] == [0, 1, 1]
    prompt = make_loop("prompt", behind=0)
    prompt.monitor.log_step = lambda step, scores, groups, metrics: seen.append(metrics)
    steps(prompt, 1)
    assert "sampling/staleness" not in seen[-1]


REFUSED = [
    ({"algorithm": {"name": "online_dpo"}}, "algorithm.name=online_dpo, expected an algorithm of GRPO's family"),
    ({"algorithm": {"name": "online_kto"}}, "algorithm.name=online_kto, expected an algorithm of GRPO's family"),
    ({"algorithm": {"grpo": {"correction": "none"}}}, "algorithm.grpo.correction=none, expected"),
    ({"algorithm": {"resample_rounds": 2}}, "algorithm.resample_rounds: found 2 beside scoring.behind=1"),
    (
        {"judges": [{"use": "findings", "length_control": "target_band"}]},
        r"judges\[0\].length_control: found target_band beside scoring.behind=1",
    ),
    (
        {"judges": [{"use": "findings"}], "guards": [{"use": "green", "args": {"place": "shared"}}]},
        r"guards\[0\].args.place: found shared beside scoring.behind=1",
    ),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_what_cannot_learn_late_is_refused_before_anything_is_loaded(settings, message):
    with pytest.raises(ConfigError, match=message):
        config_from_dict({**settings, "scoring": {"behind": 1}})
    config_from_dict({**settings, "scoring": {"behind": 0}})


def test_a_judge_that_adapts_by_itself_is_refused(make_loop):
    class Adapting(Judge):
        def adapt(self, mean_verbosity): ...

    cfg = make_loop().cfg
    refuse_late_adapting([Judge()], cfg)
    with pytest.raises(ConfigError, match="judge 'judge': found a method adapt.. beside scoring.behind=1"):
        refuse_late_adapting([Adapting()], cfg)


OUTSIDE = """
from online_rl.algorithms import GRPO, OnlinePreference

class Late(GRPO): ...
class Prompt(OnlinePreference): ...
"""


def test_an_algorithm_from_outside_says_whether_it_corrects(tmp_path):
    (tmp_path / "mine.py").write_text(OUTSIDE)
    settings = {"scoring": {"behind": 1}, "algorithm": {"name": f"{tmp_path / 'mine.py'}:Late"}}
    make_algorithm(config_from_dict(settings))
    settings["algorithm"]["name"] = f"{tmp_path / 'mine.py'}:Prompt"
    with pytest.raises(ConfigError, match="corrects_late=False, and scoring.behind=1"):
        make_algorithm(config_from_dict(settings))
