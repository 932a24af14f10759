"""Pairing: which candidates of a group become chosen and rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_rl.algorithms.pairs import (
    all_above_margin,
    best_and_worst,
    best_vs_rest,
    desirable_by_threshold,
    make_pairs,
)


@pytest.mark.parametrize(
    "rewards, pair",
    [
        ([0.2, 0.9, 0.1, 0.5], (1, 2)),
        ([0.9, 0.1, 0.9, 0.1], (0, 1)),  # the first among equals, on both ends
        ([-0.5, -0.1], (1, 0)),
        ([None, 0.1, None, 0.4], (3, 1)),  # unscorable candidates never enter a pair, not even as 0
        ([None, -0.4, -0.1], (2, 1)),
        ([0.5, 0.5, 0.5], None),
        ([0.5, None, 0.5], None),
        ([None, 0.7, None], None),
        ([None, None], None),
        ([], None),
        ([0.5, 0.5 + 1e-9], None),  # within the threshold
    ],
)
def test_best_and_worst(rewards, pair):
    assert best_and_worst(rewards) == pair


def test_a_spread_of_exactly_the_threshold_is_a_tie():
    assert best_and_worst([0.0, 0.25], tie_threshold=0.25) is None
    assert best_and_worst([0.0, 0.25], tie_threshold=0.24) == (1, 0)
    assert best_vs_rest([0.0, 0.25], tie_threshold=0.25) == []
    assert all_above_margin([0.0, 0.25], tie_threshold=0.25) == []


def test_best_vs_rest_leaves_out_what_ties_with_the_best():
    assert best_vs_rest([0.2, None, 0.9, 0.85, 0.1], tie_threshold=0.1) == [(2, 0), (2, 4)]
    assert best_vs_rest([0.1, 0.9, None, 0.9, 0.3]) == [(1, 0), (1, 4)], "the first of equals, once"


def test_all_above_margin_takes_every_two_far_enough_apart():
    # 0.9 beats 0.5 and 0.0; 0.5 beats 0.0; 0.45 beats 0.0 alone, and is beaten by 0.9
    assert all_above_margin([0.5, 0.9, None, 0.0, 0.45], tie_threshold=0.1) == [(0, 3), (1, 0), (1, 3), (1, 4), (4, 3)]


def test_desirable_above_the_threshold_only():
    assert desirable_by_threshold([0.5, None, 0.51, -1.0], 0.5) == [(0, False), (2, True), (3, False)]


@given(st.lists(st.none() | st.integers(-3, 3), max_size=8))
def test_pairings_agree_with_each_other(rewards):
    every = set(make_pairs(rewards, "all_above_margin", 0.5))
    rest = make_pairs(rewards, "best_vs_rest", 0.5)
    ends = make_pairs(rewards, "best_worst", 0.5)
    assert set(ends) <= set(rest) <= every
    assert bool(ends) == bool(rest) == bool(every), "whether a group teaches does not depend on the pairing"
    assert all(rewards[chosen] > rewards[rejected] for chosen, rejected in every)
    assert len({chosen for chosen, _ in rest}) <= 1
