"""What stops a run before an update is applied: the two engines differ, or too many tokens cannot be used."""

from __future__ import annotations

import json

import pytest

from online_rl.config import config_from_dict
from online_rl.errors import NonFiniteUpdate, PolicyMismatch
from online_rl.policy.refusals import refuse


@pytest.fixture
def cfg(tmp_path):
    return config_from_dict({"run": {"dir": str(tmp_path)}, "rollout": {"max_logp_difference": 0.5}})


def test_within_the_limits_nothing_is_refused(cfg):
    refuse(set(), gap=0.5, unusable=0.01, step=3, cfg=cfg)


@pytest.mark.parametrize("gap", [0.51, float("nan")])
def test_engines_that_differ_stop_the_run(cfg, gap):
    with pytest.raises(PolicyMismatch, match=r"step 3: .* differ by .* over rollout.max_logp_difference=0.5"):
        refuse(set(), gap=gap, unusable=0.0, step=3, cfg=cfg)


@pytest.mark.parametrize(("dtype", "limit"), [("bfloat16", 0.2), ("float32", 0.1)])
def test_an_engine_that_was_not_synced_is_beyond_the_default_limit(dtype, limit, tmp_path):
    """It was 0.81 nats per token away in huggingface/trl#5312."""
    cfg = config_from_dict({"run": {"dir": str(tmp_path)}, "model": {"dtype": dtype}})
    refuse(set(), gap=limit, unusable=0.0, step=3, cfg=cfg)
    for gap in (limit + 1e-3, 0.81):
        with pytest.raises(PolicyMismatch, match=f"rollout.max_logp_difference={limit}"):
            refuse(set(), gap=gap, unusable=0.0, step=3, cfg=cfg)


def test_too_many_tokens_that_cannot_be_used_stop_the_run(cfg):
    with pytest.raises(PolicyMismatch, match=r"for 1\.1% of the tokens, more than 1%, .*max_token_logp_difference=10 "):
        refuse(set(), gap=0.0, unusable=0.011, step=3, cfg=cfg)


def test_every_study_of_a_loss_that_is_not_finite_is_kept_in_a_file(cfg, tmp_path):
    studies = {f"s{i:02}" for i in range(12)}
    with pytest.raises(
        NonFiniteUpdate, match=r"over 12 studies \(s00, .*, s07 \.\.\.; all in .*nonfinite-step-3.json\)"
    ):
        refuse(studies, gap=0.0, unusable=0.0, step=3, cfg=cfg)
    assert json.loads((tmp_path / "nonfinite-step-3.json").read_text()) == {"step": 3, "studies": sorted(studies)}


def test_a_full_disk_does_not_hide_the_refusal(cfg, full_disk):
    with full_disk(0), pytest.raises(NonFiniteUpdate, match="could not be written") as refused:
        refuse({"s1"}, gap=0.0, unusable=0.0, step=3, cfg=cfg)
    assert "s1" in str(refused.value)
