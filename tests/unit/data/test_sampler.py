"""Every study once per epoch, and a walk that goes on exactly where it was stopped."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_rl.data.sampler import StudySampler
from online_rl.errors import CheckpointError, ConfigError


def batches(sampler: StudySampler, count: int) -> list[list[int]]:
    return [sampler.next_batch() for _ in range(count)]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 5), st.integers(0, 40), st.integers(0, 40))
def test_k_batches_and_then_the_rest_equal_all_at_once(n, batch, seed, before, after):
    batch = min(n, batch)
    whole = batches(StudySampler(n, batch, seed), before + after)
    first = StudySampler(n, batch, seed)
    head = batches(first, before)
    state = json.loads(json.dumps(first.state_dict()))  # as it goes through a checkpoint
    second = StudySampler(n, batch, seed)
    second.load_state_dict(state)
    assert head + batches(second, after) == whole


def test_every_epoch_holds_every_study_once_although_batches_cross_its_border():
    sampler = StudySampler(10, 4, seed=3)
    walk = [i for batch in batches(sampler, 15) for i in batch]  # 60 = 6 epochs
    epochs = [walk[start : start + 10] for start in range(0, 60, 10)]
    assert all(Counter(epoch) == Counter(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6, "epochs are shuffled anew"


def test_the_seed_decides_the_order():
    assert StudySampler(50, 50, 0).next_batch() == StudySampler(50, 50, 0).next_batch()
    assert StudySampler(50, 50, 0).next_batch() != StudySampler(50, 50, 1).next_batch()


def test_the_order_is_the_same_on_every_machine_and_in_every_version():
    assert StudySampler(8, 8, 0).next_batch() == [0, 2, 1, 4, 6, 7, 3, 5]


def test_another_batch_size_goes_on_at_the_same_study():
    first = StudySampler(20, 4, 0)
    batches(first, 2)
    second = StudySampler(20, 2, 0)
    second.load_state_dict(first.state_dict())
    assert second.next_batch() + second.next_batch() == first.next_batch()


def test_other_data_or_another_seed_is_refused_with_both_numbers():
    state = StudySampler(20, 4, 0).state_dict()
    with pytest.raises(CheckpointError, match="n_studies=20, this run has 21"):
        StudySampler(21, 4, 0).load_state_dict(state)
    with pytest.raises(CheckpointError, match=r"seed=0, this run has 1\. Set run.seed to 0"):
        StudySampler(20, 4, 1).load_state_dict(state)


def test_fewer_studies_than_a_batch_are_refused():
    with pytest.raises(ConfigError, match=r"rollout.studies_per_step: found 4, expected at most 3"):
        StudySampler(3, 4, 0)


@given(st.integers(4, 30), st.lists(st.integers(0, 9), max_size=12), st.integers(0, 5))
def test_batches_of_any_size_walk_the_same_way(n, sizes, seed):
    walk = StudySampler(n, 4, seed).next_batch(sum(sizes))
    sampler = StudySampler(n, 4, seed)
    assert [i for size in sizes for i in sampler.next_batch(size)] == walk


@pytest.mark.parametrize("taken", [0, 2, 3, 4, 9])
def test_looking_ahead_shows_the_next_batch_and_moves_nothing(taken):
    sampler = StudySampler(10, 3, seed=1)  # batches 4 and 7 cross the border of an epoch
    for _ in range(taken):
        sampler.next_batch()
    before = sampler.state_dict()
    seen = sampler.peek()
    assert sampler.peek() == seen and sampler.state_dict() == before
    assert sampler.next_batch() == seen
