"""Hints recommend what helps and is not set yet."""

from __future__ import annotations

import pytest

from online_rl.config import config_from_dict
from online_rl.monitor.health import hints, in_use

LONG, SHORT = {"verbosity/mean": 2.0}, {"verbosity/mean": 0.3}
CUT, MASKED = {"completions/clipped_ratio": 0.5}, {"sampling/masked_fraction": 0.9}


def hint(metrics, **sections):
    [(_, sentence)] = hints(metrics, in_use(config_from_dict(sections)))
    return sentence


def judges(*rules, **more):
    return [{"use": "findings", "name": f"j{i}", "length_control": rule, **more} for i, rule in enumerate(rules)]


@pytest.mark.parametrize(
    ("rules", "has", "has_not"),
    [
        (["none"], "length_control: lc_green on 'j0' works", "already"),
        (["lc_green", "none"], "length_control: lc_green on 'j1' works", "'j0'"),
        (["lc_green"], "length control (lc_green) already; target_band raises", "length_control: lc_green"),
        (["symmetric", "lc_green"], "(lc_green, symmetric) already; target_band", "length_control: lc_green"),
        (["target_band"], "a higher rate of target_band", "target_band raises"),
    ],
)
def test_long_reports(rules, has, has_not):
    sentence = hint(LONG, judges=judges(*rules))
    assert has in sentence and has_not not in sentence


def test_a_judge_that_is_not_rewarded_needs_no_length_control():
    both = [*judges("lc_green"), {"use": "findings", "name": "measured", "weight": 0.0}]
    assert "measured" not in hint(LONG, judges=both)


def test_short_reports():
    assert "length_control: symmetric" in hint(SHORT, judges=judges("lc_green"))
    assert "symmetric" not in hint(SHORT, judges=judges("symmetric"))
    assert "samples/" in hint(SHORT, monitor={"samples": 4}) and "monitor.samples: 4" in hint(SHORT)


def test_cut_and_masked():
    assert "scoring.truncated: mask" in hint(CUT)
    assert "scoring.truncated" not in hint(CUT, scoring={"truncated": "mask"})
    assert "token_truncate" in hint(MASKED, algorithm={"grpo": {"correction": "token_mask"}})
    sentence = hint(MASKED, algorithm={"grpo": {"correction": "token_truncate"}})
    assert "token_truncate" not in sentence and "rollout.max_token_logp_difference" in sentence
