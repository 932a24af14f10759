"""Advantages, by hand: what leaves the baseline, and what teaches nothing."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_rl.algorithms.advantage import (
    batch_std_advantage,
    group_advantage,
    has_spread,
    rloo_advantage,
    sample_std,
)


def test_by_hand_with_and_without_standard_deviation():
    # mean 3; deviations -2, 0, 2; variance (4 + 0 + 4) / (3 - 1) = 4; std 2
    assert group_advantage([1.0, 3.0, 5.0]) == pytest.approx([-1.0, 0.0, 1.0])
    assert group_advantage([1.0, 3.0, 5.0], divide_by_std=False) == pytest.approx([-2.0, 0.0, 2.0])


def test_unscorable_candidates_are_neither_in_the_mean_nor_in_the_deviation():
    # Of 0 and 1: mean 0.5, std sqrt(0.25 + 0.25) = 0.70711; 0.5 / 0.70711 = 0.70711. As zeros the Nones would give
    # another mean, 0.25.
    half = math.sqrt(0.5)
    assert group_advantage([None, 0.0, None, 1.0]) == [None, pytest.approx(-half), None, pytest.approx(half)]


@pytest.mark.parametrize(
    "rewards", [[], [0.3], [None, None], [None, 0.3, None], [0.3, 0.3, 0.3], [0.3, None, 0.3], [0.3, 0.3 + 1e-7]]
)
def test_groups_that_teach_nothing(rewards):
    assert group_advantage(rewards) == [None] * len(rewards)
    assert group_advantage(rewards, divide_by_std=False) == [None] * len(rewards)


def test_min_std_itself_is_still_flat():
    # std of (0, 1) is 0.70711
    assert group_advantage([0.0, 1.0], min_std=math.sqrt(0.5)) == [None, None]
    assert group_advantage([0.0, 1.0], min_std=0.7071) != [None, None]


def test_a_flat_group_stays_flat_when_its_reward_is_no_round_number():
    # 0.1 * 3 / 3 is not 0.1 in binary: the deviation is about 1e-17, and dividing by it would teach noise.
    assert group_advantage([0.1] * 3) == [None] * 3


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=16), st.floats(0.1, 10), st.floats(-5, 5))
def test_scale_and_offset_of_the_reward_do_not_matter(rewards, scale, offset):
    plain = group_advantage(rewards, min_std=1e-3)
    moved = group_advantage([scale * r + offset for r in rewards], min_std=scale * 1e-3)
    if plain[0] is not None and moved[0] is not None:
        assert moved == pytest.approx(plain, abs=1e-6)
        assert sum(plain) == pytest.approx(0.0, abs=1e-9)
        assert statistics.stdev(plain) == pytest.approx(1.0)


def test_as_trl_computes_it():
    """TRL 1.16: (r - mean) / (std + 1e-4) over a group, torch's std; ours has no epsilon, flat groups are left out."""
    torch = pytest.importorskip("torch")
    rewards = torch.rand(6, 8, dtype=torch.float64)
    theirs = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    ours = torch.tensor([group_advantage(row.tolist()) for row in rewards], dtype=torch.float64)
    correction = rewards.std(1, keepdim=True) / (rewards.std(1, keepdim=True) + 1e-4)
    torch.testing.assert_close(ours * correction, theirs)


def test_rloo_compares_with_the_others_alone():
    # r = 1, 3, 8: means of the others 5.5, 4.5, 2
    assert rloo_advantage([1.0, None, 3.0, 8.0]) == pytest.approx([-4.5, None, -1.5, 6.0])
    centred = group_advantage([1.0, 3.0, 8.0], divide_by_std=False)
    assert rloo_advantage([1.0, 3.0, 8.0]) == pytest.approx([a * 3 / 2 for a in centred])


def test_batch_std_leaves_small_differences_small():
    # Group means 0.5 and 1.05; deviations 0.5 and 0.05, over a batch deviation of 0.5
    assert batch_std_advantage([0.0, 1.0], 0.5) == pytest.approx([-1.0, 1.0])
    assert batch_std_advantage([1.0, 1.1, None], 0.5) == pytest.approx([-0.1, 0.1, None])


@pytest.mark.parametrize("rewards", [[0.3], [None, 0.3], [0.1] * 3, []])
def test_flat_groups_teach_nothing_in_any_way(rewards):
    assert not has_spread(rewards, 1e-6)
    assert rloo_advantage(rewards) == [None] * len(rewards)
    assert batch_std_advantage(rewards, 0.5) == [None] * len(rewards)


def test_batch_std_as_trl_computes_it():
    """TRL's scale_rewards="batch": (r - group mean) / (std of all rewards + 1e-4)."""
    torch = pytest.importorskip("torch")
    rewards = torch.rand(6, 8, dtype=torch.float64)
    theirs = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std() + 1e-4)
    std = sample_std(rewards.flatten().tolist())
    ours = torch.tensor([batch_std_advantage(row.tolist(), std) for row in rewards], dtype=torch.float64)
    torch.testing.assert_close(ours * std / (std + 1e-4), theirs)
