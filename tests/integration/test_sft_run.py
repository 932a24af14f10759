"""The supervised stage on two ranks, stopped and resumed, then one step of online training from what it has learned."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.integration.launch import (
    CONFIG,
    PATIENCE_S,
    Finished,
    command_line,
    records,
    resolved,
    scalars,
    started,
    training_command,
)

pytestmark = pytest.mark.long

STEPS = 4
LEARNED = ("loss", "mean_token_accuracy", "grad_norm", "learning_rate", "num_tokens", "epoch")


def supervised(log, *settings: str, ranks: int = 2) -> Finished:
    command = [word.replace("online_rl.train", "online_rl.sft") for word in training_command(ranks, CONFIG, settings)]
    with started(log, command, ranks) as process:
        return process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def stage(small) -> list[str]:
    return [*small, f"sft.max_steps={STEPS}", "sft.studies_per_step=8", "sft.learning_rate=5e-4", "eval.every=2"]


@pytest.fixture(scope="module")
def whole(work, stage) -> Finished:
    return supervised(work / "sft-whole", *stage, f"run.dir={work / 'sft'}").ok()


@pytest.fixture(scope="module")
def resumed(work, stage, whole) -> Finished:
    """Ended after half of its steps with 75, as a queue would end it, and continued."""
    settings = [*stage, f"run.dir={work / 'sft-again'}"]
    supervised(work / "sft-half", *settings, f"train.stop_after={STEPS // 2}").ok(75)
    return supervised(work / "sft-resumed", *settings, "resume=auto").ok()


@pytest.fixture(scope="module")
def online(work, small, whole) -> Finished:
    from tests.integration.launch import train

    settings = [*small, f"model.path=run:{whole.run_dir}", f"ref_model.path=run:{whole.run_dir}", "train.max_steps=1"]
    return train(work / "sft-online", *settings, f"run.dir={work / 'online'}", ranks=1).ok()


def test_held_out_reports_become_likelier(whole):
    evals = records(whole.run_dir, evaluations=True)
    assert [e["step"] for e in evals] == [0, 2, STEPS]
    first, last = evals[0], evals[-1]
    assert last["loss"] < first["loss"] and last["perplexity"] < first["perplexity"]
    assert 0.5 < last["mean_token_accuracy"] < 1.0
    assert torch.tensor(first["loss"]).exp().item() == pytest.approx(first["perplexity"], rel=1e-5)
    assert "loss, nats per token" in whole.out and f"model.path=run:{whole.run_dir}" in whole.out


def test_every_step_is_in_metrics_and_tensorboard(whole):
    steps = records(whole.run_dir)
    assert [s["step"] for s in steps] == [1, 2, 3, STEPS]
    assert all(set(LEARNED) <= s.keys() for s in steps)
    shown = scalars(whole.run_dir)
    assert [step for step, _ in shown["train/loss"]] == [1, 2, 3, STEPS]
    assert [step for step, _ in shown["eval/perplexity"]] == [0, 2, STEPS]
    assert (whole.run_dir / "plots" / "curves.png").is_file()


def test_a_resumed_run_is_the_uninterrupted_one(whole, resumed):
    for mine, other in zip(records(whole.run_dir), records(resumed.run_dir), strict=True):
        assert {name: mine[name] for name in LEARNED} == {name: other[name] for name in LEARNED}
    ours, theirs = (load_file(run.run_dir / "model" / "model.safetensors") for run in (whole, resumed))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_nothing_of_the_reports_is_logged(whole, world_rows):
    said = whole.out + whole.err + (whole.run_dir / "metrics.jsonl").read_text()
    assert not any(row["findings"] in said for row in world_rows)


def test_no_engine_was_built(whole):
    assert "engine" not in (whole.out + whole.err).lower()


def test_online_training_starts_from_what_was_learned(whole, online):
    cfg = resolved(online.run_dir)
    assert cfg.model.path == cfg.ref_model.path == str(whole.run_dir / "model")
    [step] = records(online.run_dir)
    assert step["kl"] == pytest.approx(0.0, abs=1e-6)  # policy and ref_model are the same before the first update
    assert step["sampling/sampling_logp_difference/mean"] < 1e-3


def test_one_report_shows_both_stages(work, whole, online):
    command_line(work / "sft-plot", "plot", str(online.run_dir), "--html").ok()
    page = (online.run_dir / "plots" / "report.html").read_text()
    assert (online.run_dir / "plots" / "supervised.png").is_file()
    assert "supervised stage" in page and f"{whole.run_dir.name}, {STEPS} steps; loss, nats per token" in page


def test_a_stage_is_not_continued_by_the_other(work, small, whole):
    log = work / "sft-other"
    command_line(log, "train", CONFIG, *small, f"run.dir={whole.run_dir}", "resume=auto").refused(
        "found a checkpoint of `online-rl sft`", "model.path=run:RUN"
    )
    state = json.loads((whole.run_dir / "checkpoints" / f"step-{STEPS}" / "state.json").read_text())
    assert state["provenance"]["stage"] == "supervised" and state["provenance"]["judges"] == {}
