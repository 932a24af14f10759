"""The best checkpoint by an evaluation metric: kept whatever its age, known after a resume, exported where asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from judges.base import Score
from online_rl import checkpoint
from online_rl.config import config_from_dict
from online_rl.data.sampler import StudySampler
from online_rl.errors import ConfigError, JudgeFailed
from online_rl.loop import Loop
from online_rl.metrics import is_better_greater
from online_rl.monitor import Monitor
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.scoring import Scorer
from tests.unit.loops import loop_of

REWARDS = {0: 0.1, 1: 0.3, 2: 0.9, 3: 0.5, 4: 0.7, 5: 0.6, 6: 0.4}  # of greedy reports after so many updates


class Builder:
    def prepare(self, studies): ...

    def build_all(self, studies, spare=()):
        return [Prompt(study, "", (), (1, 2, 3), {}) for study in studies]


class Policy:
    """Its only weight is the number of updates."""

    version, ref_model = 0, None

    def update(self, batch, step):
        self.version = step
        return {}

    def save(self, folder):
        (folder / "weights").write_text(str(self.version))

    def load(self, folder):
        self.version = int((folder / "weights").read_text())

    def trained_weights(self):
        return iter([self.version])


class Engine:
    """Writes its version."""

    version, asleep, can_sleep, weights, must_verify = 0, False, False, 0, False

    def generate(self, prompts, step, version, resampled=0):
        return self._rollouts(prompts, 2)

    def greedy(self, prompts):
        return self._rollouts(prompts, 1)

    def _rollouts(self, prompts, n):
        stream = [
            Completion(g, i, prompt, (5,), (-0.1,), f"version {self.weights}", False)
            for g, prompt in enumerate(prompts)
            for i in range(n)
        ]
        return Rollouts(stream, len(prompts), n, self.version)

    def load_weights(self, weights, version):
        self.weights = self.version = version

    def wake(self, part) -> None: ...

    def sleep(self) -> None: ...


class Judge:
    """Knows what each version is worth; fails while `fails_at` is the version."""

    name = "judge"

    def __init__(self) -> None:
        self.fails_at: int | None = None

    def score(self, cases):
        versions = [int(case.candidate.split()[1]) for case in cases]
        return [
            Score.failed("gone") if v == self.fails_at else Score(REWARDS[v], parts={"false_finding": 1 - REWARDS[v]})
            for v in versions
        ]


@pytest.fixture
def make_loop(tmp_path, make_study):
    scorers = []

    def make(resume="never", judge=None, **evaluation) -> Loop:
        cfg = config_from_dict(
            {
                "run": {"dir": str(tmp_path)},
                "judges": [{"use": "findings", "name": "judge"}],
                "rollout": {"studies_per_step": 2, "group_size": 2},
                "scoring": {"canary_every": 0, "max_retries": 0},
                "train": {"max_steps": 6, "save_every": 1, "keep_checkpoints": 2},
                "eval": {"every": 1, "metric_for_best_model": "reward", **evaluation},
                "monitor": {"tensorboard": False, "samples": 1},
                "resume": resume,
            }
        )
        scorers.append(Scorer([(judge or Judge(), 1.0)], cfg))
        found = checkpoint.find(cfg, print)
        parts: dict[str, Any] = {"builder": Builder(), "engine": Engine(), "policy": Policy()}
        start = found.step if found else 0
        loop = loop_of(
            cfg,
            train=[make_study(f"s{i}") for i in range(4)],
            held_out=[make_study("e")],
            sampler=StudySampler(4, 2, 0),
            scorer=scorers[-1],
            monitor=Monitor(tmp_path, 6, enabled=True, tensorboard=False, start_step=start),
            **parts,
        )
        if found:
            loop.restore(found)
        return loop

    yield make
    for scorer in scorers:
        scorer.close()


def kept(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").glob("step-*"))


def named(run: Path) -> dict:
    return json.loads((run / "checkpoints" / "best.json").read_text())


def evaluated(run: Path) -> list[int]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line.get("eval")]


def test_the_best_stays_beside_the_newest(make_loop, tmp_path):
    loop = make_loop()
    assert loop.run() is not None
    assert kept(tmp_path) == ["step-2", "step-5", "step-6"]
    assert named(tmp_path) == {"step": 2, "checkpoint": "step-2", "reward": 0.9}
    assert loop.policy.version == 6, "the last step is exported unless told otherwise"


def test_without_the_metric_nothing_is_kept_or_named(make_loop, tmp_path):
    make_loop(metric_for_best_model=None).run()
    assert kept(tmp_path) == ["step-5", "step-6"] and not (tmp_path / "checkpoints" / "best.json").exists()


def test_an_error_is_better_small_unless_told(make_loop, tmp_path):
    make_loop(metric_for_best_model="judge/judge/false_finding").run()
    assert named(tmp_path)["step"] == 2  # 1 - 0.9
    assert is_better_greater("judge/x/matched_findings") and not is_better_greater("completions/clipped_ratio")


def test_greater_is_better_can_be_set(make_loop, tmp_path):
    make_loop(greater_is_better=False).run()
    assert named(tmp_path) == {"step": 1, "checkpoint": "step-1", "reward": 0.3}
    assert "step-1" in kept(tmp_path)


def test_the_best_is_saved_where_no_checkpoint_is_due(make_loop, tmp_path):
    loop = make_loop()
    loop.cfg.train.save_every = 100
    loop.run()
    assert kept(tmp_path) == ["step-2", "step-6"]  # step 1 was the best for a while


def test_the_best_can_be_what_the_run_ends_with(make_loop, tmp_path):
    loop = make_loop(load_best_model_at_end=True)
    found = loop.run()
    assert found is not None and found[1].metrics["reward"] == 0.9
    assert (loop.policy.version, loop.collector.engine.weights, loop.exported_step) == (2, 2, 2)
    assert json.loads((tmp_path / "samples" / "after.jsonl").read_text())["candidate"] == "version 2"
    assert evaluated(tmp_path) == [0, 1, 2, 3, 4, 5, 6], "the curve keeps the last step's own evaluation"


def test_a_resumed_run_knows_its_best(make_loop, tmp_path):
    first = make_loop()
    first.stop.stop_after = 4
    assert first.run() is None
    again = make_loop(resume="auto")
    assert again.evaluator.best == checkpoint.Best(2, "reward", 0.9)
    again.run()
    assert kept(tmp_path) == ["step-2", "step-5", "step-6"] and named(tmp_path)["step"] == 2


def test_a_run_that_goes_back_forgets_the_best_of_its_abandoned_future(make_loop, tmp_path):
    first = make_loop()
    first.stop.stop_after = 3
    first.cfg.train.keep_checkpoints = 9
    first.run()
    checkpoint.set_later_aside(checkpoint.open_complete(tmp_path / "checkpoints" / "step-1").step, tmp_path)
    again = make_loop(resume="auto")
    assert again.step == 1 and again.evaluator.best == checkpoint.Best(1, "reward", 0.3)
    assert named(tmp_path)["step"] == 1


def test_an_evaluation_that_a_judge_interrupted_is_made_up_for(make_loop, tmp_path):
    judge = Judge()
    judge.fails_at = 2
    loop = make_loop(judge=judge)
    with pytest.raises(JudgeFailed):
        loop.run()
    assert evaluated(tmp_path) == [0, 1] and kept(tmp_path) == ["step-1", "step-2"]
    again = make_loop(resume="auto")
    again.run()
    assert evaluated(tmp_path) == [0, 1, 2, 3, 4, 5, 6] and named(tmp_path)["step"] == 2


def test_a_stop_does_not_wait_for_an_evaluation_which_the_next_launch_makes_up_for(make_loop, tmp_path):
    first = make_loop()
    first.stop.stop_after = 2
    assert first.run() is None
    assert evaluated(tmp_path) == [0, 1] and kept(tmp_path)[-1] == "step-2"
    again = make_loop(resume="auto")
    again.stop.stop_after = 1
    again.run()
    assert evaluated(tmp_path) == [0, 1, 2] and named(tmp_path)["step"] == 2


def test_until_the_first_step_a_signal_is_not_the_loops(make_loop):
    """There is nothing to save yet, so that it ends the run at once, as it does while models load."""
    loop, heard = make_loop(), []
    evaluate = loop.evaluator.evaluate
    loop.evaluator.evaluate = lambda *args, **more: (heard.append("evaluated"), evaluate(*args, **more))[1]
    loop.stop.listen = lambda: heard.append("listens")
    loop.stop.stop_after = 1
    loop.run()
    assert heard == ["evaluated", "listens"]


def test_an_evaluation_that_was_made_is_not_made_again(make_loop, tmp_path):
    first = make_loop()
    first.stop.stop_after = 2
    first.run()
    make_loop(resume="auto").run()
    assert evaluated(tmp_path) == [0, 1, 2, 3, 4, 5, 6]


def test_a_part_that_no_judge_gives_is_refused_before_the_first_step(make_loop, tmp_path):
    with pytest.raises(ConfigError, match=r"'judge/judge/typo'.*judge/judge/false_finding"):
        make_loop(metric_for_best_model="judge/judge/typo").run()
    assert evaluated(tmp_path) == [0]


@pytest.mark.parametrize(
    ("evaluation", "words"),
    [
        ({"every": 0, "metric_for_best_model": "reward"}, "eval.every: found 0"),
        ({"every": 5, "load_best_model_at_end": True}, "expected eval.metric_for_best_model beside it"),
        ({"every": 5, "metric_for_best_model": "eval_reward"}, "Did you mean reward?"),
        ({"every": 5, "metric_for_best_model": "rewards/green/mean"}, "rewards/findings/mean"),
    ],
)
def test_keys_that_do_not_fit_are_refused_at_load(evaluation, words):
    with pytest.raises(ConfigError, match="1 problem") as refused:
        config_from_dict({"eval": evaluation})
    assert words in str(refused.value)


def test_samples_that_cannot_be_written_are_a_warning_and_the_run_goes_on(make_loop, tmp_path, capsys):
    (tmp_path / "samples").write_text("a file where the folder should be")
    loop = make_loop()
    _, after = loop.run()
    assert (loop.step, after.metrics["reward"]) == (6, REWARDS[6])
    out = capsys.readouterr().out
    assert "after.jsonl: the samples cannot be written (" in out and "Traceback" not in out
