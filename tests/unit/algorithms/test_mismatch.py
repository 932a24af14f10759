"""Importance weights between vLLM and the trainer, and the diagnostics of their distance."""

import math

import pytest
import torch

from online_rl.algorithms.mismatch import correction_weights, mismatch_metrics, mismatch_sums
from online_rl.metric_types import values

pytestmark = pytest.mark.usefixtures("one_thread")

# Ratios of the trainer over vLLM: row 0 has 3 and 0.5 (product 1.5), row 1 0.25 and padding.
OLD = torch.log(torch.tensor([[0.3, 0.2], [0.1, 0.9]]))
SAMPLED = torch.log(torch.tensor([[0.1, 0.4], [0.4, 0.1]]))
MASK = torch.tensor([[1.0, 1.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    "mode, weights, outside",
    [
        ("token_truncate", [[2.0, 0.5], [0.4, 1.0]], [[1, 0], [1, 0]]),
        ("token_mask", [[0.0, 0.5], [0.0, 1.0]], [[1, 0], [1, 0]]),
        ("sequence_truncate", [[1.5], [0.4]], [[0], [1]]),
        ("sequence_mask", [[1.5], [0.0]], [[0], [1]]),
    ],
)
def test_each_mode_by_hand(mode, weights, outside):
    got, met = correction_weights(OLD, SAMPLED, MASK, mode, 0.4, 2.0)
    torch.testing.assert_close(got, torch.tensor(weights))
    torch.testing.assert_close(met, torch.tensor(outside, dtype=torch.float32))


def test_weights_carry_no_gradient_and_stay_finite():
    old = torch.full((1, 400), -0.1, requires_grad=True)
    weights, _ = correction_weights(old, torch.full((1, 400), -9.0), torch.ones(1, 400), "sequence_truncate", 0, 1e30)
    assert not weights.requires_grad and torch.isfinite(weights).all()


@pytest.mark.parametrize("kind", ["truncate", "mask"])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_as_trl(random_batch, kind, level):
    """The lines of TRL 1.16 between generation and scoring (`vllm_importance_sampling_mode`), bounds 0.5 and 3."""
    old, sampled, _, _, mask = random_batch(7, torch.float32, rows=8, tokens=20)
    difference = (old - sampled) * mask
    theirs = torch.exp(difference.sum(-1, keepdim=True) if level == "sequence" else difference)
    if kind == "truncate":
        theirs = torch.clamp(theirs, min=0.5, max=3.0)
    else:
        theirs = theirs.masked_fill((theirs < 0.5) | (theirs > 3.0), 0.0)
    ours, outside = correction_weights(old, sampled, mask, f"{level}_{kind}", 0.5, 3.0)
    torch.testing.assert_close(ours, theirs)
    assert 0 < outside.sum() < outside.numel()


def test_diagnostics_by_hand():
    means = values(mismatch_sums(OLD, SAMPLED, MASK))
    metrics = mismatch_metrics(means)
    # Three tokens with rho 3, 0.5, 0.25: mean 1.25; squares 9, 0.25, 0.0625: mean 3.10417
    assert metrics["sampling/importance_sampling_ratio/mean"] == pytest.approx(1.25)
    assert metrics["sampling/chi2_token"] == pytest.approx(2.104167)
    assert metrics["sampling/ess_token"] == pytest.approx(1.25**2 / 3.104167)
    # rho - 1 - log rho: 2 - 1.09861, -0.5 + 0.69315, -0.75 + 1.38629; mean 0.5770
    assert metrics["sampling/kl"] == pytest.approx((0.901388 + 0.193147 + 0.636294) / 3, abs=1e-5)
    # Completions: rho 1.5 and 0.25; perplexities over vLLM's 1.5^(-1/2) and 0.25^(-1)
    assert metrics["sampling/chi2_sequence"] == pytest.approx((2.25 + 0.0625) / 2 - 1)
    assert metrics["sampling/ess_sequence"] == pytest.approx(0.875**2 / 1.15625)
    assert metrics["sampling/ppl_ratio"] == pytest.approx((1 / math.sqrt(1.5) + 4) / 2)


def test_where_both_agree_nothing_is_lost():
    means = values(mismatch_sums(OLD, OLD, MASK))
    metrics = mismatch_metrics(means)
    for name, value in metrics.items():
        assert value == pytest.approx(0.0 if name.startswith(("sampling/kl", "sampling/chi2")) else 1.0), name


def test_rows_that_fill_a_pass_count_nowhere():
    sums = mismatch_sums(OLD, SAMPLED, MASK * torch.tensor([[1.0], [0.0]]))
    assert sums == mismatch_sums(OLD[:1], SAMPLED[:1], MASK[:1])


def test_a_step_without_tokens_has_no_diagnostics():
    assert mismatch_metrics({"entropy": 1.0}) == {"entropy": 1.0}
