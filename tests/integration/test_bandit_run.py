"""The bandit on real engines: what is rewarded is learned by every algorithm, a constant judge moves no weight.

Covered here, all twelve: sampling by vLLM, scoring, the update under ZeRO-3 and the sync, with the demo policy, on one
rank and in one process. The same with a table as policy, where mathematics alone decides, is in
tests/unit/algorithms/test_bandit.py; whole runs of all twelve through the command line are benchmarks/algorithms.py.
"""

from __future__ import annotations

import json
import sys

import pytest

from online_rl.config.algorithm import GRPO_FAMILY, PREFERENCE_FAMILY
from tests.integration.launch import CONFIG, started

EVERY = (*GRPO_FAMILY, *PREFERENCE_FAMILY)
WANTED = "e"  # the policy of these tests has hardly learned to write: it knows letters rather than words
STEPS = 8


@pytest.fixture(scope="session")
def bandits(work, small) -> dict[tuple[str, str], dict]:
    """(algorithm, judge) -> mean reward of each step, and how far any weight has moved."""
    settings = [
        *small,
        f"run.dir={work / 'bandit.run'}",
        "rollout.max_completion_tokens=12",
        "train.learning_rate=2e-3",
        "train.lr_schedule=constant",
        "train.warmup_ratio=0",
        "monitor.tensorboard=false",
    ]
    script = [sys.executable, "-m", "tests.integration.bandit", CONFIG, WANTED, str(STEPS), str(work / "bandit.start")]
    with started(work / "bandit", [*script, *settings]) as process:
        out = process.wait().ok().out
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return {(line["name"], line["judge"]): line for line in lines}


@pytest.mark.parametrize("name", EVERY)
def test_a_rewarded_word_is_learned(bandits, name):
    rewards = bandits[name, "pays_for_words"]["rewards"]
    assert rewards[-1] > 2 * rewards[0], f"share of the word over {STEPS} steps: {rewards}"


@pytest.mark.parametrize("name", EVERY)
def test_a_constant_judge_moves_nothing(bandits, name):
    assert bandits[name, "constant"]["moved"] == 0
    assert bandits[name, "pays_for_words"]["moved"] > 0
