"""The stream of completions: read once, sorted into groups, and nothing lost unnoticed."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch

from online_rl.rollout.types import Prompt, Rollouts


def test_completions_come_as_they_finish_and_end_up_in_their_groups(make_completion):
    finished = [make_completion(ids=(g, i), group=g, candidate=i) for g, i in ((1, 1), (0, 0), (1, 0), (0, 1))]
    rollouts = Rollouts(iter(finished), studies=2, group_size=2, version=7)
    assert [(c.group, c.candidate) for c in rollouts] == [(1, 1), (0, 0), (1, 0), (0, 1)]
    assert [[c.ids for c in group] for group in rollouts.groups] == [[(0, 0), (0, 1)], [(1, 0), (1, 1)]]
    assert rollouts.version == 7


def test_reading_does_not_wait_for_the_last_completion(make_completion):
    produced = []

    def stream():
        for i in range(2):
            produced.append(i)
            yield make_completion(candidate=i)

    reader = iter(Rollouts(stream(), studies=1, group_size=2, version=0))
    assert next(reader).candidate == 0
    assert produced == [0]


def test_a_missing_completion_is_an_error(make_completion):
    rollouts = Rollouts([make_completion(candidate=0)], studies=2, group_size=2, version=0)
    with pytest.raises(RuntimeError, match="3 of 4"):
        list(rollouts)
    assert rollouts.groups == []


def test_a_completion_that_came_twice_does_not_stand_in_for_another(make_completion):
    twice = [make_completion(candidate=0), make_completion(candidate=0)]
    with pytest.raises(RuntimeError, match="1 of 2"):
        list(Rollouts(twice, studies=1, group_size=2, version=0))


@pytest.fixture
def prompt(make_study):
    return Prompt(make_study(), "", (), (1, 2, 3), {"pixel_values": torch.zeros(1, 2), "mask": torch.tensor(True)})


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, replace, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_the_same_key(prompt, make_completion, copied):
    completion = make_completion(prompt=prompt)
    assert copied(prompt).key == prompt.key
    assert copied(completion).key == replace(completion, prompt=copied(prompt)).key == completion.key
    assert len({prompt.key, copied(prompt).key, completion.key}) == 2, "keys are hashable"


def test_what_the_model_reads_differently_has_another_key(prompt, make_study):
    image = prompt.inputs["pixel_values"]
    others = [
        replace(prompt, study=make_study("s2")),
        replace(prompt, ids=(1, 2, 4)),
        *(
            replace(prompt, inputs=prompt.inputs | {"pixel_values": other})
            for other in (image + 1, image.bfloat16(), image.half(), image.reshape(2, 1))
        ),
        replace(prompt, inputs=prompt.inputs | {"mask": torch.tensor(False)}),
        replace(prompt, inputs={"pixel_values": image}),
    ]
    assert len({one.key for one in (prompt, *others)}) == 1 + len(others)
    assert replace(prompt, inputs=dict(reversed(prompt.inputs.items()))).key == prompt.key, "whatever the order"


def test_candidates_of_equal_words_have_keys_of_their_own(make_completion):
    one = make_completion()
    others = [replace(one, candidate=1), replace(one, group=1), replace(one, ids=(5, 7))]
    assert len({c.key for c in (one, *others)}) == 4
