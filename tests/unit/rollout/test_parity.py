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


def test_where_every_weight_can_be_compared_a_distance_that_grows_is_a_warning_once():
    parity = Parity(half_precision=True)
    assert [parity.check(step, d) for step, d in enumerate([0.008, None, 0.02, 0.0339])] == [None] * 4
    warning = parity.check(5, 0.0341)  # 3 x 0.008 + 0.01
    assert warning and "step 5" in warning and "0.0341" in warning and "0.008" in warning
    assert parity.check(6, 0.9) is None


def test_float32_is_held_to_less_and_its_rounding_is_no_warning():
    parity = Parity()
    assert [parity.check(step, d) for step, d in enumerate([1e-7, 9e-6, 9e-4])] == [None] * 3
    assert parity.check(4, 1.1e-3)


def test_a_resumed_run_compares_with_the_first_step_of_the_run():
    assert Parity(before=0.001, half_precision=True).check(90, 0.02)
