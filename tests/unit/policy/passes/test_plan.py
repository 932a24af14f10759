"""Which completions share a pass: budgets by hand, nothing lost, the same number of passes on every rank."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import pytest

from online_rl.algorithms import LearnBatch
from online_rl.policy.passes.plan import PassSettings, even_passes, micro_batches, passes, row_length, together
from online_rl.ranks import collectives
from online_rl.rollout.types import Prompt


def test_passes_by_hand():
    # longest first: 9 alone (2 x 9 = 18 > 16); 4, 4, 3 in rows of 4 (16 holds four of them); the rest by then is empty
    assert passes([4, 9, 4, 3], height=1, budget=16) == [[1], [0, 2, 3]]
    # pairs take two rows: 2 x 4 = 8, so 16 holds two pairs
    assert passes([4, 9, 4, 3], height=2, budget=16) == [[1], [0, 2], [3]]


def test_a_unit_over_the_budget_has_a_pass_of_its_own():
    assert passes([50, 60], height=1, budget=10) == [[1], [0]]


def test_nothing_gives_no_pass():
    assert passes([], height=1, budget=10) == []


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


def test_passes_that_other_ranks_need_are_filled_evenly():
    # one pass would hold all: where two have to be made, two and two of 9 do, not four and a filler
    assert passes([9, 9, 9, 9], 1, 40) == [[0, 1, 2, 3]]
    assert even_passes([9, 9, 9, 9], 1, 40, 2) == [[0, 1], [2, 3]]
    # 2 x 9 = 18 and 3 x 5 = 15; with the 9 alone the rest would be 4 x 5 = 20
    assert even_passes([3, 5, 9, 4, 5], 1, 40, 2) == [[2, 1], [4, 3, 0]]
    assert even_passes([9, 9], 1, 40, 5) == [[0], [1]]
    assert even_passes([], 1, 40, 2) == []


def test_even_passes_are_no_more_than_they_may_be_and_none_is_larger_than_before():
    draw = random.Random(1)
    for _ in range(50):
        lengths = [draw.randint(1, 60) for _ in range(draw.randint(1, 40))]
        fewest = passes(lengths, 1, 240)
        for number in range(len(fewest), len(lengths) + 3):
            plan = even_passes(lengths, 1, 240, number)
            assert sorted(row for one in plan for row in one) == list(range(len(lengths))) and len(plan) <= number
            tokens = [len(one) * max(lengths[row] for row in one) for one in plan]
            assert max(tokens) <= max(len(one) * max(lengths[row] for row in one) for one in fewest)
            if max(tokens) > max(lengths):
                assert len(passes(lengths, 1, max(tokens) - 1)) > number, "a smaller pass would do"


def batch_of(completions, filler):
    return LearnBatch([(c,) for c in completions], [float(len(c.ids)) for c in completions], 1, filler)


@pytest.fixture
def three(make_completion):
    """Completions of 2, 5 and 3 tokens behind prompts of 3."""
    return [make_completion(ids=tuple(range(10, 10 + n))) for n in (2, 5, 3)]


def test_units_keep_their_advantages(three):
    first, second = micro_batches(batch_of(three, three[0]), slice(0, None, 1), PassSettings(12, 0), {})
    assert first.mask.sum(-1).tolist() == first.advantages.tolist() == [5.0]
    assert second.mask.sum(-1).tolist() == second.advantages.tolist() == [3.0, 2.0]


def test_the_budget_counts_lengths_that_are_rounded_up(three):
    """Rows of 5, 8 and 6 tokens: with a budget of 16 the shorter two share a pass, unless each is 16 long."""
    few = micro_batches(batch_of(three, three[0]), slice(0, None, 1), PassSettings(16, 0), {})
    rounded = micro_batches(batch_of(three, three[0]), slice(0, None, 1), PassSettings(16, 0, multiple=16), {})
    assert [tuple(mb.ids.shape) for mb in few] == [(1, 8), (2, 6)]
    assert [tuple(mb.ids.shape) for mb in rounded] == [(1, 16)] * 3


def test_a_rank_with_less_to_do_fills_up_with_passes_that_weigh_nothing(three, monkeypatch):
    monkeypatch.setattr(collectives, "reduce_numbers", lambda values, op: [4.0])
    weights = [
        mb.weights.tolist()
        for mb in micro_batches(batch_of(three, three[0]), slice(0, None, 1), PassSettings(12, 0), {})
    ]
    assert weights == [[1.0], [1.0], [1.0], [0.0]]
    nothing = micro_batches(batch_of([], three[0]), slice(0, None, 1), PassSettings(12, 0), {})
    assert [mb.weights.tolist() for mb in nothing] == [[0.0]] * 4


def test_features_go_where_every_row_has_them(three, make_completion, make_study):
    other = make_completion(prompt=Prompt(make_study("s2"), "", (), (1, 2, 3), {}))
    rows = [*three[:1], other]
    known = {c.prompt.key: {"projector": c} for c in rows}
    (both,) = micro_batches(batch_of(rows, other), slice(0, None, 1), PassSettings(99, 0), known)
    assert [row["projector"] for row in both.features] == rows
    (one_missing,) = micro_batches(
        batch_of(rows, other), slice(0, None, 1), PassSettings(99, 0), {other.prompt.key: {}}
    )
    assert one_missing.features is None


def test_a_copied_prompt_keeps_its_features_and_its_row(three, make_study):
    """As one that has come back from another process: an equal prompt is the same prompt."""
    one, _, other = three
    copied = replace(other, prompt=copy.deepcopy(one.prompt), candidate=1)
    assert copied.prompt is not one.prompt
    batch, features = batch_of([one, copied], one), {one.prompt.key: {"projector": one}}
    (apart,) = micro_batches(batch, slice(0, None, 1), PassSettings(99, 0), features)
    assert [row["projector"] for row in apart.features] == [one, one]
    (shared,) = micro_batches(batch, slice(0, None, 1), PassSettings(99, 0, share_prompts=True), features)
    assert shared.ids.tolist() == [[1, 2, 3, *one.ids, *other.ids]] and len(shared.features) == 1
    another = replace(copied, prompt=replace(copied.prompt, study=make_study("s2")))
    (unknown,) = micro_batches(batch_of([one, another], one), slice(0, None, 1), PassSettings(99, 0), features)
    assert unknown.features is None


def test_every_rank_computes_its_logits_in_as_many_slices_as_the_busiest(three, monkeypatch):
    def slices(logits_chunk):
        made = micro_batches(batch_of(three, three[0]), slice(0, None, 1), PassSettings(12, 0, logits_chunk), {})
        return [mb.slices for mb in made]

    assert slices(0) == [1, 1]
    assert slices(2) == [3, 3]  # 5 tokens, and 3 + 2, two at a time
    another = iter([[2.0], [4.0, 1.0]])  # a rank with as many passes, and 4 and 1 slices in them
    monkeypatch.setattr(collectives, "reduce_numbers", lambda mine, op: list(map(max, mine, next(another))))
    assert slices(2) == [4, 3]


@pytest.fixture
def groups(make_study, make_completion):
    """`groups(3, (1, 2), ...)`: for each, a prompt of that many tokens and completions of those."""

    def make(*of):
        made = []
        for g, (prompt, sizes) in enumerate(of):
            seen = Prompt(make_study(f"s{g}"), "", (), tuple(range(1, prompt + 1)), {})
            ids = [tuple(range(10, 10 + n)) for n in sizes]
            made.append([make_completion(ids=of, prompt=seen, group=g, candidate=i) for i, of in enumerate(ids)])
        return made

    return make


def test_candidates_of_a_prompt_come_together_as_far_as_the_budget_goes(groups):
    first, second = groups((4, (1, 2, 3)), (4, (9, 2)))
    units = [(first[0],), (second[0],), (first[1],), (second[1],), (first[2],)]
    # 4 + 1 + 2 = 7, and 3 more are 10; 4 + 9 = 13 is over the budget by itself, and a row of its own
    assert together(units, budget=10) == [[0, 2, 4], [1], [3]]
    assert together(units, budget=9) == [[0, 2], [1], [3], [4]]
    assert together(units, budget=1) == [[0], [1], [2], [3], [4]]
    assert together([], budget=10) == []


def test_a_pair_stays_together_and_a_completion_of_two_pairs_takes_its_place_once(groups):
    ((best, middle, worst),) = groups((4, (1, 2, 3)))
    pairs = [(best, worst), (best, middle), (middle, worst)]
    assert row_length([best, worst, best, middle]) == 4 + 1 + 3 + 2
    assert together(pairs, budget=10) == [[0, 1, 2]]
    assert together(pairs, budget=9) == [[0], [1], [2]]  # 8; 7, and 10 with the third; 9


@pytest.mark.parametrize("unit_size", [1, 2])
def test_shared_rows_hold_every_unit_once_within_the_budget(groups, unit_size):
    draw = random.Random(0)
    for budget in (30, 60, 200):
        drawn = [(draw.randint(2, 20), [draw.randint(1, 12) for _ in range(8)]) for _ in range(6)]
        candidates = [c for group in groups(*drawn) for c in group]
        units = [tuple(candidates[i : i + unit_size]) for i in range(0, len(candidates), unit_size)]
        draw.shuffle(units)
        advantages = [float(u) for u in range(len(units))]
        batch = LearnBatch(units, advantages, unit_size, candidates[0])
        made = micro_batches(batch, slice(0, None, 1), PassSettings(budget, 0, share_prompts=True), {})
        assert sorted(a for mb in made for a in mb.advantages.tolist()) == advantages
        for mb in made:
            assert mb.ids.numel() <= max(budget, 20 + unit_size * 12)
            mine = [c for unit in (units[int(a)] for a in mb.advantages) for c in unit]
            assert [t[m.bool()].tolist() for t, m in zip(mb.tokens, mb.mask, strict=True)] == [
                list(c.ids) for c in mine
            ]
            assert mb.ids.flatten()[mb.predictors].tolist() == [
                i for c in mine for i in (c.prompt.ids[-1], *c.ids[:-1])
            ]


def test_a_shared_row_that_fills_up_is_as_large_as_a_unit(groups, monkeypatch):
    """The loss looks at chosen and rejected of each unit: a filler must be a pair where units are."""
    monkeypatch.setattr(collectives, "reduce_numbers", lambda values, op: [3.0])
    ((one, other),) = groups((4, (1, 2)))
    batch = LearnBatch([(one, other)], [1.0], 2, one)
    made = micro_batches(batch, slice(0, None, 1), PassSettings(99, 0, share_prompts=True), {})
    assert [(mb.weights.tolist(), len(mb.tokens), len(mb.ids)) for mb in made] == [([1.0], 2, 1)] + [([0.0], 2, 1)] * 2
