"""Two ranks that learn one step behind: late by one update, weighed for it, and resumed as if nothing had happened."""

from __future__ import annotations

import pytest

from tests.integration.launch import Finished, records, scalars, train

pytestmark = pytest.mark.long
SAME = ("reward", "loss", "grad_norm", "entropy", "sampling/importance_sampling_ratio/mean", "num_tokens")


@pytest.fixture(scope="module")
def settings(small, judges) -> list[str]:
    return [*small, judges, "scoring.behind=1", "train.learning_rate=1e-4"]


@pytest.fixture(scope="module")
def whole(work, settings) -> Finished:
    return train(work / "behind", *settings, f"run.dir={work / 'behind.run'}").ok()


@pytest.fixture(scope="module")
def resumed(work, settings) -> Finished:
    run = f"run.dir={work / 'behind_again.run'}"
    first = train(work / "behind_again", *settings, run, "train.stop_after=2").ok(75)
    kept = sorted((first.run_dir / "checkpoints" / "step-2").glob("ahead-rank-*.json"))
    assert [file.name for file in kept] == ["ahead-rank-0.json", "ahead-rank-1.json"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in kept), "reports, for the user alone"
    return train(work / "behind_again.2", *settings, run, "resume=auto").ok()


def test_candidates_are_one_update_old_and_weighed_for_it(whole):
    lines = records(whole.run_dir)
    assert [line["sampling/staleness"] for line in lines] == [0, 1, 1, 1]
    gaps = [line["sampling/sampling_logp_difference/mean"] for line in lines]
    assert gaps[0] < 1e-3, "the first step's policy is the one that sampled"
    assert all(1e-4 < gap < 0.1 for gap in gaps[1:]), "an update lies between, and no more"
    assert "doubt" not in whole.err and "reads the policy in another way" not in whole.out
    assert [step for step, _ in scalars(whole.run_dir)["train/sampling/staleness"]] == [1, 2, 3, 4]


def test_the_last_step_leaves_nothing_ahead(whole):
    assert not list((whole.run_dir / "checkpoints" / "step-4").glob("ahead*"))


def test_a_resumed_run_is_the_same_run(whole, resumed):
    expected, got = records(whole.run_dir), records(resumed.run_dir)
    assert [line["step"] for line in got] == [1, 2, 3, 4]
    for line, other in zip(expected, got, strict=True):
        for name in SAME:
            assert other[name] == pytest.approx(line[name], rel=1e-6, abs=1e-6), f"{name} at step {line['step']}"


def test_pairs_are_refused_before_a_model_is_loaded(work, small):
    finished = train(work / "behind_dpo", *small, "scoring.behind=1", config="configs/demo_online_dpo.yaml", ranks=1)
    finished.refused("scoring.behind: found 1 with algorithm.name=online_dpo", "GRPO's family")
