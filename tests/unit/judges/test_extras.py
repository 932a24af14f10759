"""What a reward function reports beside its values: every form gives the same parts, and none becomes a reward."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
import torch

from judges.base import Case, Status
from judges.callable import CallableJudge
from judges.errors import JudgeError
from judges.length import LengthControlled
from judges.wire import decode_score, encode_scores

CASES = [Case("s1", "one two", "ref"), Case("s2", "three", "ref")]


def logs_as_in_trl(completions, log_extra, log_metric):
    log_extra("headings", [2, 3])
    return [0.5, 1.0]


async def logs_later(completions, log_extra, **columns):
    await asyncio.sleep(0)
    log_extra("headings", [2, 3])
    return [0.5, 1.0]


FORMS = {
    "tuple per completion": lambda completions: [(0.5, {"headings": 2}), (1.0, {"headings": 3})],
    "dict per completion": lambda completions: [{"reward": 0.5, "headings": 2}, {"reward": 1.0, "headings": 3}],
    "dict with score": lambda completions: [{"score": 0.5, "headings": 2}, {"score": 1.0, "headings": 3}],
    "tuple of lists": lambda completions: ([0.5, 1.0], {"headings": [2, 3]}),
    "dict of lists": lambda completions: {"rewards": [0.5, 1.0], "headings": [2, 3]},
    "log_extra": logs_as_in_trl,
    "log_extra, async": logs_later,
}


def score(function, cases=CASES):
    found = CallableJudge(function, "mine").score(cases)
    return asyncio.run(found) if asyncio.iscoroutine(found) else found


@pytest.mark.parametrize("function", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_values_and_parts(function):
    assert [(s.value, s.parts) for s in score(function)] == [(0.5, {"headings": 2.0}), (1.0, {"headings": 3.0})]


def test_a_metric_of_a_call_has_trls_mean_over_calls():
    """TRL averages the values over the calls: (0.25 + 0.75) / 2 = 0.5."""
    values = iter((0.25, 0.75))

    def reward(completions, log_metric):
        log_metric("share", next(values))
        return [0.0 for _ in completions]

    judge = CallableJudge(reward)
    parts = [s.parts["share"] for _ in range(2) for s in judge.score(CASES)]
    assert sum(parts) / len(parts) == 0.5


def test_extras_of_a_completion_without_a_value():
    scores = score(lambda completions: [(None, {"cut": True}), {"reward": None, "cut": np.bool_(False)}])
    assert [(s.status, s.value, s.parts) for s in scores] == [
        (Status.UNSCORABLE, None, {"cut": 1.0}),
        (Status.UNSCORABLE, None, {"cut": 0.0}),
    ]


def test_text_stays_in_the_detail_and_what_is_missing_is_left_out():
    scores = score(lambda completions: ([0.0, 1.0], {"answer": ["left", None], "odd": [float("nan"), 10**400]}))
    assert [(s.detail, s.parts) for s in scores] == [("answer: left", {}), ("", {})]


def test_extras_pass_length_control_and_the_wire():
    judge = LengthControlled(CallableJudge(FORMS["tuple of lists"], "mine"))
    scores = judge.score(CASES)
    assert scores[0].parts == {"headings": 2.0, "raw": 0.5, "verbosity": 2.0}
    again = [decode_score(item) for item in json.loads(json.dumps(encode_scores(scores)))]
    assert [s.parts for s in again] == [s.parts for s in scores]


@pytest.mark.parametrize("name", ["value", "raw", "verbosity", "mean", "", 3])
def test_names_that_mean_something_else_are_refused(name):
    with pytest.raises(JudgeError, match=rf"'mine' .*called {name!r}.*Rename it"):
        score(lambda completions: [(0.5, {name: 1.0}), 0.5])


@pytest.mark.parametrize("extra", [torch.tensor(1.0), [1.0], {"a": 1}])
def test_an_extra_that_is_no_number_or_text_is_named(extra):
    with pytest.raises(JudgeError, match=r"'mine' .*extra 'headings' of row 1"):
        score(lambda completions: [0.5, (0.5, {"headings": extra})])


@pytest.mark.parametrize("values", [[1.0], 1.0, "ab"])
def test_extras_of_another_length_are_refused(values):
    with pytest.raises(JudgeError, match=r"'mine' reported .*'headings'; expected a list of 2"):
        score(lambda completions: ([0.5, 0.5], {"headings": values}))


def test_a_dict_that_names_its_value_twice_or_not_is_refused():
    for row in ({"reward": 1.0, "score": 0.0}, {"headings": 1.0}):
        with pytest.raises(JudgeError, match=r"'mine' returned a dict for row 0"):
            score(lambda completions, row=row: [row, 0.5])


def test_an_error_inside_the_function_that_extras_cause_keeps_its_message():
    def reward(completions, log_extra):
        log_extra("headings", [1])
        return [0.0, 0.0]

    with pytest.raises(JudgeError, match="1 values as extra 'headings'"):
        score(reward)
