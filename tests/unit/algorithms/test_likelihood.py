"""The loss of supervised fine-tuning, by hand and against torch's cross-entropy."""

from __future__ import annotations

import pytest
import torch

from online_rl.algorithms import TokenBatch
from online_rl.algorithms.likelihood import Likelihood, batch_of
from online_rl.config import config_from_dict
from online_rl.metric_types import values

pytestmark = pytest.mark.usefixtures("one_thread")


def tokens(logp: torch.Tensor, mask: list[list[float]], weights: list[float]) -> TokenBatch:
    return TokenBatch(
        logp, logp.detach(), None, torch.zeros_like(logp), torch.tensor(mask), torch.ones(len(weights)),
        torch.tensor(weights),
    )  # fmt: skip


@pytest.fixture
def likelihood() -> Likelihood:
    return Likelihood(config_from_dict({}))


def test_the_mean_over_tokens_by_hand(likelihood):
    logp = torch.tensor([[-1.0, -2.0, -4.0], [-3.0, -9.0, -9.0], [-7.0, -7.0, -7.0]])
    batch = tokens(logp, [[1, 1, 1], [1, 0, 0], [1, 1, 1]], [1.0, 1.0, 0.0])  # the third row only fills up the pass
    loss, _ = likelihood.loss(batch)
    number = likelihood.denominator(batch.mask, batch.weights)
    assert float(loss) == 10.0  # 1 + 2 + 4 + 3
    assert number == 4.0  # 3 + 1 tokens, not 2 reports: 10 / 4 = 2.5
    assert float(loss) / number == 2.5


def test_it_is_the_cross_entropy_of_the_tokens(likelihood):
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 5, 11, requires_grad=True), torch.randint(0, 11, (2, 5))
    mask = [[1.0] * 5, [1.0, 1.0, 0.0, 0.0, 0.0]]
    logp = torch.log_softmax(logits, -1).gather(2, targets[..., None])[..., 0]
    batch = tokens(logp, mask, [1.0, 1.0])
    ours = likelihood.loss(batch)[0] / likelihood.denominator(batch.mask, batch.weights)
    labels = torch.where(torch.tensor(mask) > 0, targets, -100)
    theirs = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    assert torch.allclose(ours, theirs)
    [mine], [other] = torch.autograd.grad(ours, logits, retain_graph=True), torch.autograd.grad(theirs, logits)
    assert torch.allclose(mine, other, atol=1e-7)


def test_a_batch_counts_what_it_holds(make_completion):
    batch = batch_of([make_completion((5, 6, 2)), make_completion((5,), truncated=True)])
    assert batch.units and batch.unit_size == 1
    # Prompts of three tokens each: 3 + 3 and 1 + 3.
    assert values(batch.counts) == {
        "completions/mean_length": 2.0, "completions/clipped_ratio": 0.5, "num_tokens": 10.0,
    }  # fmt: skip


def test_a_rank_without_a_study_has_a_filler(make_completion):
    filler = make_completion((5,))
    batch = batch_of([], filler)
    assert (batch.units, batch.filler) == ([], filler)
