"""Weights that cannot be compared: the distance of log-probabilities tells when the engine did not take one."""

from __future__ import annotations

import pytest

from online_rl.errors import PolicyMismatch
from online_rl.rollout.parity import Parity


def test_a_distance_that_grows_with_the_syncs_names_the_weights():
    parity = Parity(["layers.0.qkv", "lm_head"])
    for step, difference in enumerate([0.002, 0.004, None, 0.029], start=1):
        parity.check(step, difference)
    with pytest.raises(
        PolicyMismatch, match=r"step 5: .* 0.0301 .* it was 0.002, .* at most 0.03 .* layers.0.qkv, lm_head\."
    ):
        parity.check(5, 0.0301)


def test_half_precision_may_differ_by_more():
    parity = Parity(["lm_head"], half_precision=True, before=0.002)
    parity.check(7, 0.119)
    with pytest.raises(PolicyMismatch):
        parity.check(8, 0.121)


def test_where_every_weight_can_be_compared_nothing_is_watched():
    parity = Parity()
    parity.check(1, 0.001)
    parity.check(2, 0.9)
