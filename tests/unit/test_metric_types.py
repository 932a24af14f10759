"""Metrics merge to the same numbers however the counting was split, and say nothing of nothing."""

from __future__ import annotations

import doctest
import math

import pytest

from online_rl import metric_types
from online_rl.metric_types import Max, Mean, Sum, merged, over_ranks, values


def test_the_example_of_the_module():
    assert doctest.testmod(metric_types).failed == 0


def test_by_hand():
    # (6 + 0) / (4 + 2) = 1, not the mean of 1.5 and 0
    parts = [{"loss": Mean(6.0, 4.0), "highest": Max(-3.0), "pairs": Sum(2.0)}]
    parts += [{"loss": Mean(0.0, 2.0), "highest": Max(-5.0)}, {"pairs": Sum(5.0)}]
    assert values(merged(parts)) == {"loss": 1.0, "highest": -3.0, "pairs": 7.0}


@pytest.mark.parametrize("split", [[[0, 1, 2, 3]], [[0], [1, 2], [3]], [[3, 1], [], [2, 0]]])
def test_how_the_counting_was_split_does_not_matter(split):
    counted = [{"mean": Mean(float(i), 2.0), "max": Max(float(i)), "sum": Sum(float(i))} for i in range(4)]
    whole = merged(merged(counted[i] for i in part) for part in split)
    assert values(whole) == {"mean": 6.0 / 8.0, "max": 3.0, "sum": 6.0}


def test_a_mean_of_nothing_is_no_number_and_a_sum_of_nothing_is_zero():
    assert values({"mean": Mean(0.0, 0.0), "max": Max(), "sum": Sum()}) == {"sum": 0.0}
    assert over_ranks([]) == {}


def test_a_loss_of_minus_zero_is_zero():
    assert math.copysign(1.0, over_ranks([{"loss": Mean(-0.0, 3.0)}])["loss"]) == 1.0


def test_a_name_is_of_one_type():
    with pytest.raises(TypeError, match=r"metric 'kl': found Max and Mean, expected one type"):
        merged([{"kl": Mean(1.0, 1.0)}, {"kl": Max(1.0)}])
