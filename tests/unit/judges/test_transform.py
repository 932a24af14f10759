"""Values turned into rewards: what each step does, what is refused, and that nothing else of a judge is lost."""

from __future__ import annotations

import asyncio

import pytest

from judges import load_judge
from judges.base import Case, Score
from judges.errors import JudgeError
from judges.identity import identify
from judges.transform import check, formula, make_steps

CASE = Case("s1", "no effusion", "small effusion")


class Errors:
    """Three errors, as a metric in which less is better counts them."""

    name = "errors"
    granularity = "group"

    def __init__(self, value: float | None = 3.0) -> None:
        self.value = value

    def score(self, cases):
        return [Score.unscorable("why") if self.value is None else Score(self.value, parts={"own": 1.0})] * len(cases)


class Later(Errors):
    async def score(self, cases):
        await asyncio.sleep(0)
        return Errors.score(self, cases)


def value(transform, of: float = 3.0) -> float | None:
    return load_judge(Errors(of), transform=transform).score([CASE])[0].value


@pytest.mark.parametrize(
    ("transform", "of", "expected"),
    [
        ("negate", 3.0, -3.0),
        ("reciprocal", 3.0, 0.25),  # 1 / (1 + 3)
        ("reciprocal", 0.0, 1.0),
        ([{"scale": 0.5}], 3.0, 1.5),
        ([{"clip": [0, 1]}], 3.0, 1.0),
        (["negate", {"scale": 0.1}, {"clip": [-0.2, 0]}], 3.0, -0.2),  # -3, -0.3, -0.2
    ],
)
def test_steps_by_hand(transform, of, expected):
    assert value(transform, of) == pytest.approx(expected, abs=1e-12)


def test_the_judges_own_value_and_parts_stay_and_the_unscorable_passes():
    [score] = load_judge(Errors(), transform="reciprocal").score([CASE])
    assert score.parts == {"own": 1.0, "untransformed": 3.0}
    [score] = load_judge(Errors(None), transform="reciprocal").score([CASE])
    assert score.value is None and score.detail == "why"


def test_length_control_comes_after_it():
    """1 / (1 + 3) = 0.25, and a candidate of twice the words: 0.125."""
    judge = load_judge(Errors(), length_control="lc_green", transform="reciprocal")
    [score] = judge.score([Case("s1", "a b c d", "a b")])
    assert score.value == pytest.approx(0.125) and score.parts["raw"] == 0.25


def test_a_judge_that_answers_later_and_its_other_members_stay():
    judge = load_judge(Later(), transform="negate")
    [score] = asyncio.run(judge.score([CASE]))
    assert score.value == -3.0
    assert judge.granularity == "group" and not hasattr(judge, "sleep")


def test_a_function_of_the_users_and_what_its_edits_change(tmp_path):
    file = tmp_path / "own_steps.py"
    file.write_text("def half(x): return x / 2\ndef bad(x): return None\ndef fails(x): return x[0]\n")
    judge = load_judge(Errors(), transform=f"{file}:half")
    assert judge.score([CASE])[0].value == 1.5
    assert identify(judge, "x").hash != identify(load_judge(Errors()), "x").hash
    with pytest.raises(JudgeError, match=r"transform of judge 'errors' gave None .*finite number"):
        load_judge(Errors(), transform=f"{file}:bad").score([CASE])
    with pytest.raises(JudgeError, match=r"its transform raised TypeError \(.*own_steps.py:3"):
        load_judge(Errors(), transform=f"{file}:fails").score([CASE])


def test_below_zero_a_reciprocal_would_turn_the_order_round():
    with pytest.raises(JudgeError, match="judge 'errors': study 's1': .*found -2, expected 0 or more"):
        value("reciprocal", -2.0)


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ("negative", "found 'negative', expected negate, reciprocal"),
        ([{"scale": "2"}], "scale: found '2', expected one number"),
        ([{"scale": True}], "expected one number"),
        ([{"clip": [1, 0]}], "the lower one first"),
        ([{"clip": 1}], "two numbers"),
        ([{"clip": [0, float("nan")]}], "two numbers"),
        ([{"scale": 1, "clip": [0, 1]}], "expected negate"),
        ([{"negate": 1}], "expected negate"),
    ],
)
def test_what_is_no_step_is_refused_before_anything_loads(transform, words):
    for read in (make_steps, check):
        with pytest.raises(JudgeError, match="transform") as caught:
            read(transform)
        assert words in str(caught.value)
    check("never_imported.py:function")


def test_the_formula_of_a_reward_shows_it():
    assert formula("radcliq", "negate") == "-(radcliq)"
    assert formula("errors", ["reciprocal", {"scale": 0.5}]) == "0.5 * (1 / (1 + errors))"
    assert formula("x", [{"clip": [0, 1]}, "mine.py:half"]) == "half(clip(x, 0, 1))"
