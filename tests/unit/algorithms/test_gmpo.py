"""GMPO by hand: the geometric mean, clipped token by token in the direction in which the advantage pushes."""

import math

import pytest
import torch

from online_rl.algorithms import TokenBatch, make_algorithm
from online_rl.algorithms.gmpo import geometric_mean_ratio
from online_rl.config import config_from_dict
from online_rl.errors import ConfigError
from online_rl.metric_types import Mean

pytestmark = pytest.mark.usefixtures("one_thread")

LOW, HIGH = 1 - math.exp(-0.4), math.exp(0.4) - 1  # the paper's range


def test_the_mean_is_geometric_and_clipped_in_one_direction():
    log_ratio = torch.tensor([[1.0, -1.0, 0.3], [1.0, -1.0, 0.3], [0.2, 9.0, 9.0], [5.0, 5.0, 5.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    advantages = torch.tensor([[1.0], [-1.0], [-1.0], [1.0]])
    found = geometric_mean_ratio(log_ratio, advantages, mask, LOW, HIGH)
    # A > 0: 1 is cut to 0.4, so (0.4 - 1 + 0.3) / 3 = -0.1. A < 0: -1 is raised to -0.4, so (1 - 0.4 + 0.3) / 3 = 0.3.
    assert found.shape == (4, 1)
    assert found.flatten().tolist() == pytest.approx([math.exp(-0.1), math.exp(0.3), math.exp(0.2), 1.0], abs=1e-6)


def test_loss_and_gradient_by_hand():
    algorithm = make_algorithm(
        config_from_dict({"algorithm": {"name": "gmpo", "grpo": {"clip_low": LOW, "clip_high": HIGH}}})
    )
    # First row: A = 2, logs of ratios 0.6 (cut to 0.4) and 0; second: A = -1, one token at 0; the third only fills.
    logp = torch.tensor([[0.6, 0.0], [0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    old, mask = torch.zeros(3, 2), torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    tokens = TokenBatch(logp, old, None, old, mask, torch.tensor([2.0, -1.0, 5.0]), torch.tensor([1.0, 1.0, 0.0]))
    loss, metrics = algorithm.loss(tokens)
    # -2 exp(0.4 / 2) + 1 = -1.4428; a clipped token has no gradient, the other -2 exp(0.2) / 2 = -1.2214.
    assert loss.item() == pytest.approx(1.0 - 2.0 * math.exp(0.2), abs=1e-5)
    loss.backward()
    assert logp.grad[0].tolist() == pytest.approx([0.0, -math.exp(0.2)], abs=1e-5)
    assert logp.grad[1].tolist() == pytest.approx([1.0, 0.0]) and not logp.grad[2].any()
    assert metrics["clip_ratio/high_mean"] == Mean(1.0, 3.0), "one of three tokens"


def test_the_name_brings_the_papers_range_and_refuses_what_it_cannot_read():
    options = config_from_dict({"algorithm": {"name": "gmpo"}}).algorithm.grpo
    assert (options.clip_low, options.clip_high) == pytest.approx((LOW, HIGH), abs=1e-4)
    assert (options.loss_type, options.advantage) == ("grpo", "group")
    for key, value in (("loss_type", "dapo"), ("dual_clip", 3.0)):
        with pytest.raises(ConfigError, match=f"algorithm.grpo.{key}: found .* with algorithm.name=gmpo"):
            config_from_dict({"algorithm": {"name": "gmpo", "grpo": {key: value}}})
