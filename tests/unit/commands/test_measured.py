"""`online-rl size --like RUN`: a run predicts itself, and another one by what differs."""

from __future__ import annotations

import json

import pytest

from online_rl.cli import main
from online_rl.commands import measured, roofline
from online_rl.commands.sizing import Shape
from online_rl.config import config_from_dict
from online_rl.config.load import save_resolved
from online_rl.errors import DataError

SMALL = Shape(parameters=10_000_000, vision=0, layers=2, hidden=8, kv_heads=2, head_dim=4, vocabulary=50)
LARGE = Shape(parameters=30_000_000, vision=0, layers=2, hidden=8, kv_heads=2, head_dim=4, vocabulary=50)
ROLLOUT = {"studies_per_step": 4, "group_size": 8, "max_model_len": 256, "max_completion_tokens": 64}
STEP = {
    "time/generate": 2.0,
    "time/update": 5.0,
    "time/sync": 0.1,
    "time/judge_exposed": 0.2,
    "time/wait": 0.3,
    "completions/mean_length": 40.0,
    "completions/max_length": 64.0,
    "completions/clipped_ratio": 0.4,
}


def config(**rollout):
    return config_from_dict({"model": {"path": "any"}, "judges": [{"use": "findings"}], "rollout": ROLLOUT | rollout})


@pytest.fixture
def run(tmp_path):
    """A folder as a run of three steps leaves it: prompts of 100 tokens, completions of 40, a slow first step."""
    save_resolved(config(), tmp_path)
    tokens = 4 * 8 * (100 + 40)
    rows = [STEP | {"step": step, "num_tokens": float(step * tokens)} for step in (1, 2, 3)]
    rows[0] = rows[0] | {"time/generate": 50.0, "time/update": 50.0}
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    state = tmp_path / "checkpoints" / "step-3" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"step": 3, "world_size": 2}))
    return tmp_path


def seconds(run, cfg, shape=SMALL, ranks=2):
    parts = measured.step_parts(shape, cfg, ranks, roofline.CPU, measured.read(run), SMALL)
    return {part.name: part.seconds for part in parts}


def test_a_run_predicts_itself(run):
    found = seconds(run, config())
    assert found == pytest.approx({"generate": 2.0, measured.JUDGE: 0.2, "update": 5.0, "sync": 0.1, "rest": 0.3})


def test_its_lengths_and_ranks_are_read(run):
    like = measured.read(run)
    assert (like.lengths, like.ranks) == (roofline.Lengths(100.0, 40.0, 64.0), 2)


def test_a_policy_three_times_as_large_takes_three_times_the_update(run):
    found = seconds(run, config(), LARGE)
    assert found["update"] == pytest.approx(15.0, rel=2e-3), "attention goes by width and layers, and stays"
    assert found["rest"] == 0.3


def test_a_larger_group_reads_its_prompt_once(run):
    found = seconds(run, config(group_size=16))
    assert found["update"] == pytest.approx(5.0 * (100 + 16 * 40) / (100 + 8 * 40), rel=0.02)  # AdamW's does not grow


def test_completions_that_were_cut_grow_with_their_limit_and_others_do_not(run):
    longer = config(max_completion_tokens=128)
    assert measured.read(run).lengths_of(longer) == roofline.Lengths(100.0, 80.0, 128.0)
    path = run / "metrics.jsonl"
    path.write_text(path.read_text().replace('"completions/clipped_ratio": 0.4', '"completions/clipped_ratio": 0.0'))
    assert measured.read(run).lengths_of(longer) == roofline.Lengths(100.0, 40.0, 64.0)
    assert measured.read(run).lengths_of(config(max_completion_tokens=32)) == roofline.Lengths(100.0, 32, 32)


def test_a_run_that_has_hardly_begun_is_refused(run):
    path = run / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(DataError, match="found 2 steps and 1 checkpoints, expected at least 3 steps"):
        measured.read(run)


def test_the_command_says_which_option_is_missing(root, run, capsys):
    demo = str(root / "configs" / "demo_grpo.yaml")
    assert main(["size", "--config", demo, "--gpus", "2", "--gpu", "cpu"]) == 2
    assert "--gpu: found cpu without --like" in capsys.readouterr().err
    assert main(["size", "--config", demo, "--gpus", "2", "--like", str(run)]) == 2
    assert "--like: found without --gpu" in capsys.readouterr().err
