"""Steps in float32 laid out in two ways that have nothing in common but the candidates: the same is learned.

Ten steps, and each way for itself, are in benchmarks/invariance.py.
"""

from __future__ import annotations

import pytest

from tests.integration.launch import records, train

pytestmark = pytest.mark.long

STEPS = 5
COMMON = (
    "model.dtype=float32",
    f"train.max_steps={STEPS}",
    "train.passes=2",
    "algorithm.grpo.kl_coef=0.05",
    "rollout.max_completion_tokens=32",
    "eval.studies=2",
)
PLAIN = (
    "train.micro_batch_tokens=8192",
    "train.logits_chunk=0",
    "debug.image_features_once=false",
    "debug.share_prompts=false",
)
THRIFTY = (
    "train.micro_batch_tokens=400",
    "train.logits_chunk=32",
    "debug.image_features_once=true",
    "debug.share_prompts=true",
    "model.gradient_checkpointing=true",
    "debug.persistence_threshold=0",
)


def test_neither_ranks_nor_passes_nor_slices_nor_shared_images_and_prompts_change_what_is_learned(small, judges, work):
    settings = [*small, judges, *COMMON]
    one = train(work / "plain", *settings, *PLAIN, f"run.dir={work / 'plain.run'}", ranks=1).ok()
    two = train(work / "thrifty", *settings, *THRIFTY, f"run.dir={work / 'thrifty.run'}", ranks=2).ok()
    plain, thrifty = records(one.run_dir), records(two.run_dir)
    assert len(plain) == len(thrifty) == STEPS
    assert max(abs(line["loss"]) for line in plain) > 1e-4, "the loss is more than rounding"
    same = next((i for i, (a, b) in enumerate(zip(plain, thrifty, strict=True)) if not _same_samples(a, b)), STEPS)
    assert same >= STEPS // 2, "later on a token at the edge of two may tip"
    for line, other in zip(plain[:same], thrifty[:same], strict=True):
        assert other["grad_norm"] == pytest.approx(line["grad_norm"], rel=1e-5), f"step {line['step']}"
        # terms as large as advantages, about 1, nearly cancel in it: float32 leaves seven digits of those
        assert other["loss"] == pytest.approx(line["loss"], abs=1e-7), f"step {line['step']}"


def _same_samples(one: dict, other: dict) -> bool:
    return one["num_tokens"] == other["num_tokens"] and one["reward"] == pytest.approx(other["reward"], abs=1e-9)
