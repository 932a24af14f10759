"""Studies come as often as their weights say, wait after a group that taught nothing, and never stay away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from online_rl.config import config_from_dict
from online_rl.data.sampler import StudySampler
from online_rl.data.strata import NORMAL, draw_shares, read_strata
from online_rl.data.weighted_sampler import WeightedSampler, make_sampler
from online_rl.errors import CheckpointError, ConfigError

FINDINGS = ("The lungs are clear.", "Small left pleural effusion.", "Moderate cardiomegaly. Pulmonary edema.")


def epoch(sampler: WeightedSampler) -> list[int]:
    """The whole of the next epoch."""
    if sampler.cursor:
        sampler.next_batch(len(sampler._order) - sampler.cursor)
    first = sampler.next_batch(1)
    return [*first, *sampler.next_batch(len(sampler._order) - 1)]


def config(**data):
    return config_from_dict({"data": data, "rollout": {"studies_per_step": 4}, "run": {"seed": 0}})


def test_by_default_the_order_is_the_one_it_has_always_been(make_study):
    studies = [make_study(f"s{i}") for i in range(8)]
    sampler = make_sampler(config(), studies)
    assert type(sampler) is StudySampler
    assert sampler.next_batch(8) == [0, 2, 1, 4, 6, 7, 3, 5]
    assert sampler.state_dict() == {"epoch": 0, "cursor": 8, "seed": 0, "n_studies": 8}
    assert sampler.metrics() == {} and sampler.notes() == []


def test_equal_weights_give_every_study_once_per_epoch():
    sampler = WeightedSampler([1.0] * 10, 4, seed=0)
    orders = [epoch(sampler) for _ in range(5)]
    assert all(Counter(order) == Counter(range(10)) for order in orders)
    assert len(set(map(tuple, orders))) == 5


@given(st.lists(st.floats(0.01, 4.0), min_size=3, max_size=12), st.integers(0, 5))
def test_an_epoch_rounds_each_weight_up_or_down(times, seed):
    counts = Counter(WeightedSampler(times, 2, seed)._order)
    assert all(int(weight) <= counts[study] <= int(weight) + 1 for study, weight in enumerate(times))
    assert abs(sum(counts.values()) - sum(times)) < 1 + 1e-9


def test_looking_ahead_counts_no_study_as_drawn():
    strata = [frozenset({NORMAL}) if study % 2 else frozenset({"edema"}) for study in range(10)]
    sampler = WeightedSampler([1.0] * 10, 4, 7, 1.0, strata)
    sampler.next_batch()
    before = sampler.state_dict(), sampler.metrics()
    ahead = sampler.peek()
    assert (sampler.state_dict(), sampler.metrics()) == before
    assert sampler.next_batch() == ahead


def test_over_many_epochs_studies_come_as_often_as_their_weights_say():
    times = [0.5, 0.25, 1.0, 2.3, 3.95]
    sampler = WeightedSampler(times, 4, seed=1)
    counts = Counter(study for _ in range(2000) for study in epoch(sampler))
    assert [counts[study] / 2000 for study in range(5)] == pytest.approx(times, abs=0.035)


def test_copies_of_a_study_are_spread_over_the_epoch():
    sampler = WeightedSampler([10.0, *[1.0] * 190], 8, seed=0)  # ten of two hundred: every twentieth
    for _ in range(20):
        order = epoch(sampler)
        places = [place for place, study in enumerate(order) if study == 0]
        assert len(places) == 10
        gaps = [after - before for before, after in zip(places, places[1:], strict=False)]
        assert min(gaps) >= 8, "no step holds it twice"


def test_stratified_draws_follow_the_formula_and_normals_keep_their_quarter(make_study):
    references = [FINDINGS[0]] * 80 + [FINDINGS[1]] * 15 + [FINDINGS[2]] * 5
    studies = [make_study(f"s{i}", reference) for i, reference in enumerate(references)]
    strata = read_strata(studies)
    sampler = make_sampler(config(sampling="stratified"), studies)
    draws = [study for _ in range(10_000 // 4) for study in sampler.next_batch()]
    counts, q = Counter(draws), draw_shares(strata)
    for group in (range(80), range(80, 95), range(95, 100)):
        expected = sum(q[study] for study in group)
        assert sum(counts[study] for study in group) / 10_000 == pytest.approx(expected, abs=0.005)
    drawn = sampler.metrics()
    assert drawn[f"strata/drawn/{NORMAL}"] == sum(counts[study] for study in range(80)) / 10_000 >= 0.25
    assert drawn[f"strata/data/{NORMAL}"] == 0.8
    assert sampler.notes()[0].startswith(
        "data.sampling=stratified, share of the training studies -> share of the draws"
    )


def test_after_a_group_that_taught_nothing_a_study_waits_and_its_weight_comes_back():
    sampler = WeightedSampler([1.0, 2.0, 1.0, 1.0], 4, seed=0, flat_weight=0.25)
    epoch(sampler)
    sampler.note_groups({0: False, 1: False, 2: True})
    now = sampler.epoch
    assert [sampler.weight(0, now + wait) for wait in (1, 2, 3, 4, 2000)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert [sampler.weight(1, now + wait) for wait in (1, 2, 3)] == [0.5, 1.0, 2.0], "a part of what it had"
    assert [sampler.weight(study, now + 1) for study in (2, 3)] == [1.0, 1.0]
    sampler.note_groups({0: True})
    assert sampler.weight(0, now + 1) == 1.0, "a group with spread restores it at once"


def test_studies_without_spread_come_less_often_and_never_stay_away():
    """With .25 a study comes after 1, 2 or 3 epochs, by .25, .75 x .5 and the rest: after 2.125 on average."""
    sampler = WeightedSampler([1.0] * 40, 8, seed=0, flat_weight=0.25)
    last, gaps, seen = dict.fromkeys(range(20), 0), [], Counter()
    for number in range(400):
        order = epoch(sampler)
        seen.update(order)
        sampler.note_groups({study: study >= 20 for study in order})
        for study in order:
            if study < 20:
                gaps.append(number - last[study])
                last[study] = number
    assert all(seen[study] == 400 for study in range(20, 40)), "the others come once per epoch, as ever"
    assert max(gaps) == 3
    assert sum(gaps[20:]) / len(gaps[20:]) == pytest.approx(2.125, abs=0.05)


def test_an_epoch_of_nothing_but_flat_studies_still_ends():
    sampler = WeightedSampler([1.0, 1.0], 2, seed=0, flat_weight=0.001)
    for _ in range(20):
        sampler.note_groups(dict.fromkeys(sampler.next_batch(), False))


@given(
    st.lists(st.floats(0.1, 3.0), min_size=4, max_size=15),
    st.integers(0, 20),
    st.integers(0, 20),
    st.sampled_from([1.0, 0.5, 0.1]),
)
def test_a_resume_anywhere_equals_an_uninterrupted_run(times, before, after, flat_weight):
    strata = [frozenset({NORMAL}) if study % 2 else frozenset({"edema"}) for study in range(len(times))]

    def steps(sampler: WeightedSampler, count: int) -> list:
        drawn = []
        for _ in range(count):
            batch = sampler.next_batch()
            sampler.note_groups({study: study % 3 == 0 for study in batch})
            drawn.append((batch, sampler.metrics()))
        return drawn

    whole = steps(WeightedSampler(times, 4, 7, flat_weight, strata), before + after)
    first = WeightedSampler(times, 4, 7, flat_weight, strata)
    head = steps(first, before)
    state = json.loads(json.dumps(first.state_dict()))  # as it goes through a checkpoint
    steps(first, 3)  # what is kept does not move on with the sampler
    second = WeightedSampler(times, 4, 7, flat_weight, strata)
    second.load_state_dict(state)
    assert head + steps(second, after) == whole


def test_other_data_or_another_seed_is_refused():
    state = WeightedSampler([1.0] * 20, 4, 0).state_dict()
    with pytest.raises(CheckpointError, match="n_studies=20, this run has 21"):
        WeightedSampler([1.0] * 21, 4, 0).load_state_dict(state)
    with pytest.raises(CheckpointError, match=r"seed=0, this run has 1\. Set run.seed to 0"):
        WeightedSampler([1.0] * 20, 4, 1).load_state_dict(state)


def test_every_process_comes_to_the_same_order():
    """Sets of findings have another order in every process, and sums of fractions depend on theirs."""
    code = (
        "from online_rl.data.strata import times_per_epoch\n"
        "from online_rl.data.weighted_sampler import WeightedSampler\n"
        "names = 'effusion edema nodule opacity atelectasis fracture'.split()\n"
        "strata = [frozenset(names[i % 5 : i % 5 + 1 + i % 4]) for i in range(61)]\n"
        "times = times_per_epoch(strata)\n"
        "print(times, WeightedSampler(times, 4, 0).next_batch(300))\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


@pytest.mark.parametrize("value", [0, 0.0, 1.5, -0.25])
def test_a_weight_that_would_exclude_studies_for_good_is_refused(value):
    with pytest.raises(ConfigError, match=r"data.flat_weight: found"):
        config(flat_weight=value)
