"""Which completions share a pass: budgets by hand, nothing lost, the same number of passes on every rank."""

from __future__ import annotations

import random

import pytest

from online_rl import distributed
from online_rl.algorithms import LearnBatch
from online_rl.policy.micro_batches import micro_batches, passes
from online_rl.rollout.types import Prompt


def test_passes_by_hand():
    # longest first: 9 alone (2 x 9 = 18 > 16); 4, 4, 3 in rows of 4 (16 holds four of them); the rest by then is empty
    assert passes([4, 9, 4, 3], unit_size=1, budget=16) == [[1], [0, 2, 3]]
    # pairs take two rows: 2 x 4 = 8, so 16 holds two pairs
    assert passes([4, 9, 4, 3], unit_size=2, budget=16) == [[1], [0, 2], [3]]


def test_a_unit_over_the_budget_has_a_pass_of_its_own():
    assert passes([50, 60], unit_size=1, budget=10) == [[1], [0]]


def test_nothing_gives_no_pass():
    assert passes([], unit_size=1, budget=10) == []


@pytest.mark.parametrize("unit_size", [1, 2])
def test_every_unit_once_and_no_pass_over_the_budget(unit_size):
    draw = random.Random(0)
    for _ in range(50):
        lengths = [draw.randint(1, 60) for _ in range(draw.randint(1, 40))]
        plan = passes(lengths, unit_size, budget=240)
        assert sorted(unit for one in plan for unit in one) == list(range(len(lengths)))
        assert all(len(one) * unit_size * max(lengths[u] for u in one) <= 240 for one in plan)
        longest = [max(lengths[u] for u in one) for one in plan]
        assert longest == sorted(longest, reverse=True)


def batch_of(completions):
    return LearnBatch([(c,) for c in completions], [float(len(c.ids)) for c in completions], 1)


@pytest.fixture
def three(make_completion):
    """Completions of 2, 5 and 3 tokens behind prompts of 3."""
    return [make_completion(ids=tuple(range(10, 10 + n))) for n in (2, 5, 3)]


def test_units_keep_their_advantages(three):
    first, second = micro_batches(batch_of(three), slice(0, None, 1), three[0], 12, 0, {})
    assert first.mask.sum(-1).tolist() == first.advantages.tolist() == [5.0]
    assert second.mask.sum(-1).tolist() == second.advantages.tolist() == [3.0, 2.0]


def test_a_rank_with_less_to_do_fills_up_with_passes_that_weigh_nothing(three, monkeypatch):
    monkeypatch.setattr(distributed, "reduce_numbers", lambda values, op: [4.0])
    weights = [mb.weights.tolist() for mb in micro_batches(batch_of(three), slice(0, None, 1), three[0], 12, 0, {})]
    assert weights == [[1.0], [1.0, 1.0], [0.0], [0.0]]
    nothing = micro_batches(batch_of([]), slice(0, None, 1), three[0], 12, 0, {})
    assert [mb.weights.tolist() for mb in nothing] == [[0.0]] * 4


def test_features_go_where_every_row_has_them(three, make_completion, make_study):
    other = make_completion(prompt=Prompt(make_study(), "", (), (1, 2, 3), {}))
    rows = [*three[:1], other]
    known = {id(c.prompt): {"projector": c} for c in rows}
    (both,) = micro_batches(batch_of(rows), slice(0, None, 1), other, 99, 0, known)
    assert [row["projector"] for row in both.features] == rows
    (one_missing,) = micro_batches(batch_of(rows), slice(0, None, 1), other, 99, 0, {id(other.prompt): {}})
    assert one_missing.features is None


def test_every_rank_computes_its_logits_in_as_many_slices_as_the_busiest(three, monkeypatch):
    def slices(logits_chunk):
        made = micro_batches(batch_of(three), slice(0, None, 1), three[0], 12, 0, {}, logits_chunk)
        return [mb.slices for mb in made]

    assert slices(0) == [1, 1]
    assert slices(2) == [3, 3]  # 5 tokens, and 3 + 2, two at a time
    another = iter([[2.0], [4.0, 1.0]])  # a rank with as many passes, and 4 and 1 slices in them
    monkeypatch.setattr(distributed, "reduce_numbers", lambda mine, op: list(map(max, mine, next(another))))
    assert slices(2) == [4, 3]
