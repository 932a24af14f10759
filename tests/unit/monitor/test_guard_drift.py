"""A guard that falls while the reward rises is noticed; noise, and a guard that falls with the reward, are not."""

import random

import pytest

from online_rl.monitor import Monitor
from online_rl.monitor.guard_drift import GuardDrift


def course(reward_slope, guard_slope, steps=60, seed=0, noise=0.02):
    """Records of a run: both metrics change by slope per step and carry noise (standard deviation)."""
    rng = random.Random(seed)
    return [
        {
            "step": step,
            "reward": 0.4 + reward_slope * step + rng.gauss(0, noise),
            "guards/radgraph/mean": 0.5 + guard_slope * step + rng.gauss(0, noise),
        }
        for step in range(1, steps + 1)
    ]


def found(records):
    drift = GuardDrift()
    return [sentence for record in records for _, sentence in drift.hints(record["step"], record)]


def test_a_guard_that_falls_while_the_reward_rises_is_named_with_its_numbers():
    sentence = found(course(0.004, -0.003, noise=0.0))[0]
    # means of steps 1-10 and 11-20: reward 0.4 + 0.004 * 5.5 and * 15.5, guard 0.5 - 0.003 * 5.5 and * 15.5
    assert "'radgraph' fell from 0.483 to 0.454 between steps 1-10 and 11-20" in sentence
    assert "reward rose from 0.422 to 0.462" in sentence


@pytest.mark.parametrize(("reward", "guard"), [(0.004, 0.002), (-0.004, -0.003), (0.0, -0.003), (0.0, 0.0)])
def test_no_other_course_is_a_sign(reward, guard):
    assert not any(found(course(reward, guard, seed=seed)) for seed in range(20))


def test_a_guard_that_rose_first_is_compared_with_its_peak():
    up = course(0.004, 0.004, steps=40)
    down = [
        {**record, "step": record["step"] + 40, "reward": record["reward"] + 0.16, "guards/radgraph/mean": value}
        for record, value in zip(
            course(0.004, 0.0, steps=40), (r["guards/radgraph/mean"] for r in reversed(up)), strict=True
        )
    ]
    assert not found(up) and found(up + down)


def test_the_console_says_it_once_and_remembers_over_a_resume(tmp_path, capsys):
    records = course(0.004, -0.003, steps=15) + course(0.004, -0.003, steps=60)[15:]
    monitor = Monitor(tmp_path, 60, enabled=True, tensorboard=False)
    for record in records[:15]:
        monitor.log(record["step"], record)
    monitor.close()
    assert "guard" not in capsys.readouterr().out
    monitor = Monitor(tmp_path, 60, enabled=True, tensorboard=False, start_step=15)
    for record in records[15:]:
        monitor.log(record["step"], record)
    monitor.close()
    hints = [line for line in capsys.readouterr().out.splitlines() if line.startswith("hint: guard 'radgraph' fell")]
    assert len(hints) == 1 and "steps 1-10" in hints[0]
