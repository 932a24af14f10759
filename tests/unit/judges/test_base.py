"""A Score holds numbers and nothing that merely looks like one; a Case has raw and cleaned texts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from judges import Case, Score


def test_numpy_numbers_become_plain_ones():
    score = Score(np.float32(0.5), parts={"matched_findings": np.int64(2)})
    assert json.dumps([score.value, score.parts]) == '[0.5, {"matched_findings": 2.0}]'


@pytest.mark.parametrize("value", [True, "0.5", [0.5], float("nan")])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match="Score"):
        Score(value)


@pytest.mark.parametrize("part", [None, "2", True])
def test_parts_are_numbers(part):
    with pytest.raises(ValueError, match="count is of type"):
        Score(0.5, parts={"count": part})


def test_without_raw_texts_the_cleaned_ones_stand_for_them():
    case = Case("s1", "no effusion.", "clear.", raw_candidate="- No effusion.")
    assert (case.raw_candidate, case.raw_reference) == ("- No effusion.", "clear.")
