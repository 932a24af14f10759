"""Other algorithms through the real command line: they run, ranks and interruptions change nothing, metrics appear."""

from __future__ import annotations

import math

import pytest

from tests.integration.launch import Finished, records, train

pytestmark = pytest.mark.long

# Two passes over each batch, a coefficient that adapts, and more studies where groups hardly differ: everything that
# keeps state or depends on other ranks.
DAPO = (
    "train.passes=2",
    "train.max_steps=3",
    "algorithm.resample_rounds=1",
    "algorithm.grpo.min_reward_std=0.08",
    "algorithm.grpo.kl_coef=0.05",
    "algorithm.grpo.kl_target=0.001",
    "algorithm.grpo.kl_estimator=k2",
)
RECIPE = "configs/algorithms/{}.yaml"


@pytest.fixture(scope="session")
def dapo(work, small, judges) -> Finished:
    """Three steps on two ranks."""
    settings = [*small, judges, *DAPO, f"run.dir={work / 'dapo.run'}"]
    return train(work / "dapo", *settings, config=RECIPE.format("dapo")).ok()


@pytest.fixture(scope="session")
def dapo_in_two(work, small, judges) -> Finished:
    """The same on one rank, in other micro-batches, stopped after two steps and resumed."""
    sizes = ["train.micro_batch_tokens=1024"]
    settings = [*small, judges, *DAPO, *sizes, f"run.dir={work / 'dapo_in_two.run'}"]
    train(work / "dapo.1", *settings, "train.stop_after=2", ranks=1, config=RECIPE.format("dapo")).ok(75)
    return train(work / "dapo.2", *settings, "resume=auto", ranks=1, config=RECIPE.format("dapo")).ok()


def test_ranks_micro_batches_and_a_restart_change_nothing(dapo, dapo_in_two):
    expected, got = records(dapo.run_dir), records(dapo_in_two.run_dir)
    assert [line["step"] for line in got] == [line["step"] for line in expected] == [1, 2, 3]
    assert sum(line["rollout/extra_studies"] for line in expected) > 0, "some groups hardly differ"
    for line, other in zip(expected, got, strict=True):
        for name in ("reward", "rollout/extra_studies", "frac_reward_zero_std", "num_tokens"):
            assert other[name] == pytest.approx(line[name], rel=1e-9), f"{name} at step {line['step']}"
        for name in ("loss", "grad_norm", "entropy", "kl", "kl_coef"):
            assert other[name] == pytest.approx(line[name], rel=1e-4, abs=1e-6), f"{name} at step {line['step']}"


def test_the_coefficient_adapts_and_survives_the_restart(dapo):
    used = [line["kl_coef"] for line in records(dapo.run_dir)]
    assert used[0] == 0.05 and len(set(used)) == 3
    for before, after, line in zip(used, used[1:], records(dapo.run_dir), strict=False):
        error = max(-0.2, min(0.2, line["kl"] / 0.001 - 1))
        assert after == pytest.approx(before * (1 + 0.1 * error))


def test_a_second_pass_leaves_the_policy_that_sampled(dapo):
    for line in records(dapo.run_dir):
        assert line["kl"] > 0, "measured in the second pass too, after an update"
        assert line["sampling/ess_token"] == pytest.approx(1, abs=1e-3), "float32: vLLM and the trainer agree"
        assert abs(line["sampling/kl"]) < 1e-4 and line["sampling/unusable_fraction"] == 0


def test_kto_learns_from_every_candidate_by_threshold(work, small, judges):
    settings = [*small, judges, "train.max_steps=2", "algorithm.preference.kto_threshold=1.3"]
    run = train(
        work / "kto", *settings, f"run.dir={work / 'kto.run'}", ranks=1, config=RECIPE.format("online_kto")
    ).ok()
    first, second = records(run.run_dir)
    assert 0 < first["kto/desirable"] < 1
    assert first["loss"] == pytest.approx(0.5, abs=1e-4), "1 - sigmoid(0) while policy and ref_model agree"
    assert first["kto/z"] == pytest.approx(0, abs=1e-4)
    assert second["rewards/chosen"] != 0 and all(math.isfinite(line["grad_norm"]) for line in (first, second))
