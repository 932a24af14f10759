"""The bandit on real engines: what is rewarded is learned by every algorithm, a constant judge moves no weight.

Covered here, all of them: sampling by vLLM, scoring, the update under ZeRO-3 and the sync, on one rank and in one
process (benchmarks/bandit.py). The same with a table as policy, where mathematics alone decides, is in
tests/unit/algorithms/test_bandit.py; whole runs of all but GMPO through the command line are benchmarks/algorithms.py.
"""

from __future__ import annotations

import json
import statistics
import sys

import pytest

from online_rl.config.algorithm import GRPO_FAMILY, PREFERENCE_FAMILY
from tests.integration.launch import started

pytestmark = pytest.mark.long

EVERY = (*GRPO_FAMILY, *PREFERENCE_FAMILY)
STEPS = 24  # at most; an algorithm stops when it has learned
WANTED = "e"  # letters are what such a policy knows


@pytest.fixture(scope="session")
def bandits(work, demo) -> dict[str, dict]:
    """Algorithm -> mean reward of each step, and how far any weight has moved."""
    settings = [*demo, "rollout.group_size=4", "rollout.max_completion_tokens=8", "train.learning_rate=3e-3"]
    results = work / "bandit"
    results.mkdir()
    options = ["--wanted", WANTED, "--steps", str(STEPS), "--results", str(results)]
    with started(results / "log", [sys.executable, "benchmarks/bandit.py", *options, *settings]) as process:
        process.wait().ok()
    return json.loads((results / "bandit.json").read_text())["algorithms"]


@pytest.mark.parametrize("name", EVERY)
def test_what_is_rewarded_is_learned(bandits, name):
    rewards = bandits[name]["rewards"]
    before, after = statistics.fmean(rewards[:3]), statistics.fmean(rewards[-3:])
    assert after >= 1.5 * before > 0, f"share of {WANTED!r} in the reports, step by step: {rewards}"


@pytest.mark.parametrize("name", EVERY)
def test_a_constant_judge_moves_nothing(bandits, name):
    assert bandits[name]["moved by a constant judge"] == 0
    assert bandits[name]["moved"] > 0
