"""Learning rates, step by step."""

import pytest

from online_rl.config import config_from_dict
from online_rl.policy.schedule import learning_rate


def rates(**train):
    cfg = config_from_dict({"train": {"max_steps": 20, "learning_rate": 1.0, "warmup_ratio": 0.2} | train})
    return [learning_rate(cfg, step) for step in range(1, cfg.train.max_steps + 1)]


def test_warm_up_rises_by_equal_steps_to_the_peak():
    # 0.2 * 20 = 4 steps of warm-up; the first step already learns
    assert rates()[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_cosine_by_hand():
    # 16 steps after the warm-up: step 5 is at 0/16, step 13 half way at 8/16, step 20 at 15/16.
    # 0.5 (1 + cos(15 pi / 16)) = 0.5 (1 - 0.980785) = 0.009607
    cosine = rates()
    assert cosine[4] == pytest.approx(1.0)
    assert cosine[12] == pytest.approx(0.5)
    assert cosine[19] == pytest.approx(0.009607, abs=1e-6)
    assert all(later < earlier for earlier, later in zip(cosine[4:], cosine[5:], strict=False))


def test_cosine_ends_at_its_minimum():
    # 0.1 + 0.9 * 0.5 = 0.55 half way, 0.1 + 0.9 * 0.009607 = 0.108647 at the end
    cosine = rates(min_lr_ratio=0.1)
    assert cosine[12] == pytest.approx(0.55)
    assert cosine[19] == pytest.approx(0.108647, abs=1e-6)


def test_constant_stays_at_the_peak():
    assert rates(lr_schedule="constant")[4:] == [1.0] * 16


def test_without_warm_up_the_first_step_has_the_peak():
    assert rates(warmup_ratio=0.0)[0] == 1.0
    assert rates(warmup_ratio=0.0, max_steps=1) == [1.0]


def test_warm_up_over_all_steps():
    assert rates(warmup_ratio=1.0, max_steps=4) == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_the_rate_scales_with_the_peak():
    assert rates(learning_rate=2e-6) == pytest.approx([2e-6 * r for r in rates()])


def test_steps_beyond_the_last_do_not_rise_again():
    cfg = config_from_dict({"train": {"max_steps": 10}})
    assert learning_rate(cfg, 30) == pytest.approx(0.0, abs=1e-12)
