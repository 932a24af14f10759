"""What a loss is shown of a micro-batch: tokens that vLLM could not score are masked and counted."""

from __future__ import annotations

import pytest
import torch

from online_rl.algorithms.mismatch import mismatch_metrics
from online_rl.metric_types import Max, Mean, values
from online_rl.policy.passes.collate import collate
from online_rl.policy.passes.token_batch import token_batch, token_metrics

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def pass_of(make_completion):
    """Two completions of three tokens and one that only fills the pass up."""

    def make(first):
        rows = [make_completion(ids=(5, 6, 7), logprobs=p) for p in (first, (-1.0,) * 3, (-9.0,) * 3)]
        mb = collate([[c] for c in rows], [1.0, 1.0, 0.0], [1.0, -1.0, 0.0], pad_id=0)
        logp = torch.full((3, 3), -1.5)
        return mb, token_batch(mb, logp, logp, None, 10.0)

    return make


def test_a_token_without_a_finite_log_probability_is_masked_and_counted(pass_of):
    mb, seen = pass_of((NAN, -1.0, -INF))
    assert seen.mask.tolist() == [[0.0, 1.0, 0.0], [1.0] * 3, [1.0] * 3]
    assert torch.isfinite(seen.sampled).all()
    sums = token_metrics(mb, seen, torch.ones(3, 3))
    assert sums["sampling/unusable_fraction"] == Mean(2.0, 6.0)
    assert sums["sampling/sampling_logp_difference/mean"] == Mean(pytest.approx(4 * 0.5), 4.0)
    assert sums["sampling/sampling_logp_difference/max"] == Max(0.5), "nothing of the row that fills the pass up"


def test_where_all_is_well_nothing_is_masked(pass_of):
    mb, seen = pass_of((-1.0,) * 3)
    assert torch.equal(seen.mask, mb.mask)
    sums = token_metrics(mb, seen, torch.ones(3, 3))
    metrics = mismatch_metrics(values(sums))
    assert metrics["sampling/unusable_fraction"] == 0
    assert metrics["sampling/importance_sampling_ratio/mean"] == pytest.approx(torch.tensor(-0.5).exp().item())
    assert metrics["sampling/ess_token"] == pytest.approx(1.0)


def test_a_token_that_both_see_differently_is_masked_and_counted(pass_of):
    mb, seen = pass_of((-11.6, -11.4, -1.0))
    assert seen.mask.tolist() == [[0.0, 1.0, 1.0], [1.0] * 3, [1.0] * 3], "10.1 and 9.9 nats"
    sums = token_metrics(mb, seen, torch.ones(3, 3))
    assert sums["sampling/unusable_fraction"] == Mean(1.0, 6.0)
    assert sums["sampling/sampling_logp_difference/max"] == Max(pytest.approx(9.9))
