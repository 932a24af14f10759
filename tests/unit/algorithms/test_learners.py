"""What carries gradient, and what a micro-batch reports: unscorable, masked, tied and filling rows."""

import math

import pytest
import torch

from online_rl.algorithms import GRPO, OnlineDPO, make_algorithm
from online_rl.algorithms.grpo import grpo_loss
from online_rl.config import config_from_dict
from online_rl.rollout.types import Rollouts

pytestmark = pytest.mark.usefixtures("one_thread")


def config(name="grpo", **options):
    return config_from_dict({"algorithm": {"name": name, name: options}})


@pytest.fixture
def rollouts(make_completion):
    """Three groups of four completions, read through."""
    completions = [make_completion(group=g, candidate=i) for g in range(3) for i in range(4)]
    result = Rollouts(completions, 3, 4, version=0)
    list(result)
    return result


def places(batch):
    return [tuple((c.group, c.candidate) for c in unit) for unit in batch.units]


def test_make_algorithm_takes_the_configured_one():
    assert type(make_algorithm(config("grpo"))) is GRPO
    assert type(make_algorithm(config("online_dpo"))) is OnlineDPO


def test_grpo_needs_a_ref_model_only_for_kl():
    assert not GRPO(config()).needs_ref_model
    assert GRPO(config(kl_coef=0.01)).needs_ref_model


def test_grpo_leaves_unscorable_candidates_and_flat_groups_out(rollouts):
    # Group 0: mean of 1, 2, 3 is 2, std 1. Group 1 is flat, group 2 has one score alone.
    rewards = [[1.0, None, 2.0, 3.0], [0.5, 0.5, None, 0.5], [None, None, 0.9, None]]
    batch = GRPO(config()).learn_from(rollouts, rewards)
    assert places(batch) == [((0, 0),), ((0, 2),), ((0, 3),)]
    assert batch.advantages == pytest.approx([-1.0, 0.0, 1.0])
    assert batch.unit_size == 1
    assert batch.counts == {"frac_reward_zero_std": (2, 3)}


def test_grpo_without_std_keeps_the_size_of_the_reward(rollouts):
    rewards = [[0.0, 0.2, None, None], [0.0, 0.0, 0.0, 4.0], [None] * 4]
    batch = GRPO(config(advantage="group_no_std")).learn_from(rollouts, rewards)
    assert batch.advantages == pytest.approx([-0.1, 0.1, -1.0, -1.0, -1.0, 3.0])


def test_a_step_that_teaches_nothing_is_an_empty_batch(rollouts):
    nothing = [[None] * 4] * 3
    assert GRPO(config()).learn_from(rollouts, nothing).units == []
    assert OnlineDPO(config("online_dpo")).learn_from(rollouts, nothing).units == []


def test_rewards_of_another_shape_are_refused(rollouts):
    with pytest.raises(ValueError):
        GRPO(config()).learn_from(rollouts, [[1.0, 2.0, 3.0, 4.0]])
    with pytest.raises(ValueError):
        GRPO(config()).learn_from(rollouts, [[1.0, 2.0]] * 3)


def test_dpo_pairs_best_with_worst_and_drops_ties(rollouts):
    rewards = [[0.1, None, 0.9, 0.4], [0.5, 0.5, 0.5, None], [-0.2, 0.0, None, None]]
    batch = OnlineDPO(config("online_dpo")).learn_from(rollouts, rewards)
    assert places(batch) == [((0, 2), (0, 0)), ((2, 1), (2, 0))]
    assert batch.advantages == [1.0, 1.0]
    assert batch.unit_size == 2
    assert batch.counts == {"frac_reward_zero_std": (1, 3), "dpo/pairs_per_group": (2, 3)}


def test_dpo_tie_threshold_comes_from_the_configuration(rollouts):
    rewards = [[0.1, 0.2, 0.15, 0.1], [0.0, 1.0, 0.5, 0.5], [None] * 4]
    batch = OnlineDPO(config("online_dpo", tie_threshold=0.5)).learn_from(rollouts, rewards)
    assert places(batch) == [((1, 1), (1, 0))]


def test_grpo_loss_is_the_weighted_sum_of_its_units():
    logp = torch.tensor([[-1.0, -2.0], [-3.0, -1.0], [-1.0, -1.0]], requires_grad=True)
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    advantages = torch.tensor([1.0, -0.5, 7.0])
    weights = torch.tensor([1.0, 1.0, 0.0])  # the last row only fills the pass up
    loss, sums = GRPO(config(loss_type="grpo")).loss(logp, logp.detach(), None, advantages, weights, mask)
    # On policy every ratio is 1: -1 + 0.5 = -0.5
    assert loss.item() == pytest.approx(-0.5)
    loss.backward()
    # d/dlogp of -rho A / |o|: row 0 -1 / 2 per token, row 1 0.5, the filling row nothing
    assert logp.grad.tolist() == [[-0.5, -0.5], [0.5, 0.0], [0.0, 0.0]]
    assert sums["clip_ratio/region_mean"] == (0.0, 3.0)


def test_dr_grpo_divides_by_the_token_limit():
    # Ratio 1 everywhere: completion 0 gives 2 * -1 / 10, completion 1 gives 1 * 0.5 / 10; in all -0.15
    limited = {"algorithm": {"grpo": {"loss_type": "dr_grpo"}}, "rollout": {"max_completion_tokens": 10}}
    logp, mask = torch.zeros(2, 2), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    learner = GRPO(config_from_dict(limited))
    loss, _ = learner.loss(logp, logp, None, torch.tensor([1.0, -0.5]), torch.ones(2), mask)
    assert loss.item() == pytest.approx(-0.15)


def test_grpo_metrics_count_clipped_tokens_of_real_rows_only():
    logp = torch.zeros(3, 2)
    old = logp - torch.tensor([[math.log(2), 0.0], [math.log(0.5), math.log(0.5)], [math.log(2), math.log(2)]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    _, sums = GRPO(config()).loss(logp, old, None, torch.tensor([1.0, -1.0, 1.0]), torch.tensor([1.0, 1.0, 0.0]), mask)
    assert sums == {
        "clip_ratio/low_mean": (1.0, 3.0),
        "clip_ratio/high_mean": (1.0, 3.0),
        "clip_ratio/region_mean": (2.0, 3.0),
    }


def test_grpo_passes_its_options_to_the_loss():
    draw = torch.Generator().manual_seed(0)
    logp, old, ref = (-torch.rand(4, 3, generator=draw) for _ in range(3))
    advantages, mask = torch.randn(4, generator=draw), torch.ones(4, 3)
    learner = GRPO(config(clip_low=0.1, clip_high=0.3, kl_coef=0.5, loss_type="grpo"))
    loss, _ = learner.loss(logp, old, ref, advantages, torch.ones(4), mask)
    expected = grpo_loss(logp, old, advantages, mask, clip_low=0.1, clip_high=0.3, ref_logp=ref, kl_coef=0.5)
    torch.testing.assert_close(loss, expected.sum())


def test_micro_batches_add_up_to_the_whole_batch():
    """Losses and metric sums of two halves, one with a filling row, equal those of all rows at once."""
    draw = torch.Generator().manual_seed(1)
    logp, old = -torch.rand(4, 3, generator=draw), -torch.rand(4, 3, generator=draw)
    advantages, mask, ones = torch.randn(4, generator=draw), torch.ones(4, 3), torch.ones(4)
    learner = GRPO(config())
    whole, whole_sums = learner.loss(logp, old, None, advantages, ones, mask)
    filled = torch.tensor([1.0, 1.0, 1.0, 0.0])
    first, first_sums = learner.loss(logp, old, None, advantages, filled, mask)
    second, second_sums = learner.loss(logp[3:], old[3:], None, advantages[3:], ones[3:], mask[3:])
    torch.testing.assert_close(first + second, whole)
    for name, (value, count) in whole_sums.items():
        assert (first_sums[name][0] + second_sums[name][0], first_sums[name][1] + second_sums[name][1]) == (
            value,
            count,
        )


def test_dpo_sums_over_completion_tokens_and_ignores_filling_pairs():
    # Pair 0: chosen gains 1 + 1 = 2 over its two tokens, rejected -1 over its one (the other is padding):
    # margin 0.1 * 3 = 0.3. Pair 1 only fills the pass up.
    logp = torch.tensor([[-1.0, -1.0], [-3.0, 50.0], [-9.0, -9.0], [-1.0, -1.0]], requires_grad=True)
    ref = torch.tensor([[-2.0, -2.0], [-2.0, -2.0], [-1.0, -1.0], [-9.0, -9.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    learner = OnlineDPO(config("online_dpo", beta=0.1))
    loss, sums = learner.loss(logp, logp.detach(), ref, torch.ones(2), torch.tensor([1.0, 0.0]), mask)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-0.3)))
    assert sums["rewards/margins"] == (pytest.approx(0.3), 1.0)
    assert sums["rewards/accuracies"] == (1.0, 1.0)
    loss.backward()
    assert not logp.grad[2:].any() and logp.grad[1, 1] == 0
    assert logp.grad[0, 0] < 0 < logp.grad[1, 0]  # descending raises the chosen one and lowers the rejected one
