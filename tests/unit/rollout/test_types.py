"""The stream of completions: read once, sorted into groups, and nothing lost unnoticed."""

import pytest

from online_rl.rollout.types import Rollouts


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
