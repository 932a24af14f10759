"""Two ranks that share one engine: the reports of two engines, resumed alike, and no rank left waiting by a failure."""

from __future__ import annotations

import json

import pytest

from tests.integration.launch import Finished, records, train

SHARED = "rollout.tensor_parallel_size=2"
SAME = ("reward", "loss", "grad_norm", "entropy", "completions/mean_length", "num_tokens")
# Fails on one rank alone, once the run has noted a step.
FAILS = """
import os
from pathlib import Path

NOTED = Path("{run}") / "metrics.jsonl"


def reward(completions, reference, **columns):
    stepped = NOTED.exists() and any('"eval": true' not in line for line in NOTED.read_text().splitlines())
    if os.environ.get("RANK") == "1" and stepped:
        return "no list of numbers"
    return [float(len(text) % 7) for text in completions]
"""


@pytest.fixture(scope="module")
def settings(small, judges) -> list[str]:
    # Seven studies to evaluate: the ranks have unequal shares. Texts are compared below.
    return [
        *small,
        judges,
        "train.max_steps=3",
        "eval.studies=7",
        "monitor.samples=7",
        "train.learning_rate=1e-4",
        "rollout.verify_sync_every=1",
    ]


@pytest.fixture(scope="module")
def apart(work, settings) -> Finished:
    return train(work / "apart", *settings, f"run.dir={work / 'apart.run'}").ok()


@pytest.fixture(scope="module")
def shared(work, settings) -> Finished:
    return train(work / "shared", *settings, SHARED, f"run.dir={work / 'shared.run'}").ok()


def texts(run: Finished, when: str) -> dict[str, str]:
    lines = (run.run_dir / "samples" / f"{when}.jsonl").read_text().splitlines()
    return {row["study_id"]: row["candidate"] for row in map(json.loads, lines)}


def same_steps(run: Finished, other: Finished, rel: float) -> None:
    expected, got = records(other.run_dir), records(run.run_dir)
    assert [line["step"] for line in got] == [line["step"] for line in expected] == [1, 2, 3]
    for line, reference in zip(got, expected, strict=True):
        for name in SAME:
            assert line[name] == pytest.approx(reference[name], rel=rel, abs=rel), f"{name} at step {line['step']}"


def test_a_shared_engine_samples_what_an_engine_per_rank_samples(shared, apart):
    same_steps(shared, apart, rel=1e-3)  # sums are split in another order, in float32
    assert texts(shared, "before") == texts(apart, "before") and len(texts(shared, "before")) == 7
    assert texts(shared, "after") == texts(apart, "after")


def test_every_shard_is_compared_with_what_it_was_sent(shared):
    assert "cannot be compared" not in shared.out + shared.err
    assert all(line["sampling/sampling_logp_difference/mean"] < 1e-4 for line in records(shared.run_dir))


def test_a_resumed_run_is_the_same_run(work, settings, shared):
    run = f"run.dir={work / 'shared_again.run'}"
    train(work / "shared_again", *settings, SHARED, run, "train.stop_after=2").ok(75)
    again = train(work / "shared_again.2", *settings, SHARED, run, "resume=auto").ok()
    same_steps(again, shared, rel=1e-6)


def test_a_judge_that_fails_on_one_rank_ends_the_other(work, small):
    path = work / "fails_on_one_rank.py"
    path.write_text(FAILS.replace("{run}", str(work / "fails.run")))
    judge = f"judges=[{{use: '{path}:reward'}}]"
    run = train(
        work / "partner_fails",
        *small,
        judge,
        SHARED,
        "scoring.canary_every=0",
        f"run.dir={work / 'fails.run'}",
        timeout_s=120,
    )
    run.refused("judge 'reward' returned a str", code=2)
    assert [line["step"] for line in records(run.run_dir)] == [1]


def test_an_image_that_one_rank_cannot_read_ends_the_other(work, small, world, world_rows, judges):
    rows = [dict(row) for row in world_rows]
    broken = work / "broken.png"
    broken.write_bytes((world / rows[0]["image_paths"][0]).read_bytes()[:300])
    for row in rows[40:]:
        row["image_paths"] = [str(broken)]
    data = work / "some_broken.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = ["data.reader=jsonl", f"data.path={data}", f"data.image_root={world}"]
    run = train(work / "partner_image", *small, *own, judges, SHARED, f"run.dir={work / 'image.run'}", timeout_s=120)
    run.refused("some_broken.jsonl", "data.bad_images_budget")
