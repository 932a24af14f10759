"""A rank whose groups all teach nothing runs the passes of the others, and what these learn does not change."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.integration.launch import free_port, started
from tests.integration.uneven_ranks import ALGORITHMS

pytestmark = pytest.mark.long


@pytest.fixture(scope="session")
def answer(work) -> dict:
    folder = work / "uneven"
    folder.mkdir()
    launcher = str(Path(sys.executable).parent / "deepspeed")
    command = [launcher, "--num_accelerators", "2", "--master_port", str(free_port()), "--module"]
    with started(work / "uneven_ranks", [*command, "tests.integration.uneven_ranks", str(folder)], 2) as process:
        process.wait().ok()  # a rank that waited for the other would be killed here
    return json.loads((folder / "answer.json").read_text())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_rank_with_nothing_to_learn_from_changes_nothing_and_hangs_nobody(answer, name):
    ranks = answer[name]
    assert [[rank["units"] > 0 for rank in ranks[case]] for case in ("rank 0", "rank 1")] == [[1, 0], [0, 1]]
    for case, (first, second) in ranks.items():
        assert {**first, "units": 0} == {**second, "units": 0}, f"{case}: both ranks report the same"
    alone, other, both, none = (ranks[case][0] for case in ("rank 0", "rank 1", "both", "none"))
    assert [case["updates"] for case in (alone, other, both)] == [2, 2, 2], "train.updates_per_step"
    assert [case["frac_reward_zero_std"] for case in (alone, other, both, none)] == [0.5, 0.5, 0.0, 1.0]
    assert alone["grad_norm"] > 1e-3
    # Means are over what both ranks learn from together: neither half of it where one has nothing, nor another.
    for case in (other, both):
        assert case["grad_norm"] == pytest.approx(alone["grad_norm"], rel=1e-5)
        assert case["loss"] == pytest.approx(alone["loss"], rel=1e-5, abs=1e-6)
    assert none["updates"] == 0 and none["grad_norm"] is None


@pytest.mark.parametrize("name", ALGORITHMS[1:])  # the first has taught it the kinds of passes
def test_the_weights_of_every_pass_are_fetched_ahead(answer, name):
    for case in answer[name].values():
        for rank in case:
            assert rank["passes"] > 0 and rank["prefetched"] == rank["passes"]
