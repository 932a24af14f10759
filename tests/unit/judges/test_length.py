"""Length control: the formulas by hand, and what every rule promises."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.base import Case, Score, Status
from judges.length import RULES, LengthControlled, lc_green, overlong_penalty, soft_overlong, symmetric, verbosity
from online_rl.errors import JudgeError

values = st.floats(-1, 1)
ratios = st.floats(0, 1000)
rules = st.sampled_from(sorted(RULES))


class Fixed:
    """Gives every case the same score."""

    name = "fixed"

    def __init__(self, score: Score) -> None:
        self.given = score

    def score(self, cases):
        return [self.given] * len(cases)


class FixedAsync(Fixed):
    async def score(self, cases):
        await asyncio.sleep(0)
        return [self.given] * len(cases)


def test_formulas_by_hand():
    assert verbosity("one two three", "one two") == 1.5
    assert verbosity("ab c", "abcdef", "characters") == 0.5
    assert verbosity([1, 2, 3], [1, 2], "tokens") == 1.5
    assert lc_green(0.6, 1.5) == pytest.approx(0.4)
    assert lc_green(0.6, 0.2) == 0.6
    assert lc_green(-0.6, 1.5) == pytest.approx(-0.9)  # dividing would reward length
    assert symmetric(0.6, 0.5) == symmetric(0.6, 2.0) == pytest.approx(0.3)
    assert overlong_penalty(90, 100, 20) == -0.5  # half way through the last 20
    assert (overlong_penalty(80, 100, 20), overlong_penalty(101, 100, 20)) == (0, -1)
    assert soft_overlong(0.6, 1.5) == pytest.approx(0.3)
    assert soft_overlong(0.6, 1.5, form="subtractive") == pytest.approx(0.1)


@given(rules, values, ratios)
def test_no_rule_raises_a_score(rule, value, ratio):
    assert RULES[rule](value, ratio) <= value


@given(rules, values, st.floats(1, 1000), st.floats(1, 1000))
def test_longer_never_scores_higher(rule, value, one, other):
    shorter, longer = sorted((one, other))
    assert RULES[rule](value, longer) <= RULES[rule](value, shorter) + 1e-12


@given(values, st.floats(0, 1))
def test_up_to_the_reference_length_nothing_changes(value, ratio):
    assert lc_green(value, ratio) == soft_overlong(value, ratio) == value


@given(values, st.floats(0.01, 1), st.floats(0.01, 1))
def test_symmetric_charges_short_reports(value, one, other):
    shorter, longer = sorted((one, other))
    assert symmetric(value, shorter) <= symmetric(value, longer) + 1e-12


@given(rules, ratios, st.floats(0, 1), st.floats(0, 1))
def test_at_one_length_the_better_report_stays_better(rule, ratio, one, other):
    worse, better = sorted((one, other))
    assert RULES[rule](worse, ratio) <= RULES[rule](better, ratio)


def test_wrapper_adds_raw_and_verbosity_and_keeps_the_other_parts():
    judge = LengthControlled(Fixed(Score(0.8, parts={"matched_findings": 4.0}, detail="text")))
    got = judge.score([Case("s1", "a b c d", "a b")])[0]
    assert got.value == 0.4
    assert got.parts == {"matched_findings": 4.0, "raw": 0.8, "verbosity": 2.0}
    assert got.detail == "text" and judge.name == "fixed"


def test_wrapper_of_an_async_judge_is_async():
    judge = LengthControlled(FixedAsync(Score(0.8)))
    assert asyncio.iscoroutinefunction(judge.score)
    assert [s.value for s in asyncio.run(judge.score([Case("s1", "a b", "a")]))] == [0.4]


@pytest.mark.parametrize("score", [Score.unscorable("no"), Score.failed("gone")])
def test_what_has_no_value_passes_through(score):
    assert LengthControlled(Fixed(score)).score([Case("s1", "a", "b")]) == [score]


@pytest.mark.parametrize("reference", ["", "  ", "\n"])
def test_reference_without_a_word_is_unscorable(reference):
    assert LengthControlled(Fixed(Score(0.5))).score([Case("s1", "a", reference)])[0].status is Status.UNSCORABLE
    with pytest.raises(JudgeError, match="no words"):
        verbosity("a", reference)


def test_own_rule_cannot_raise_a_score_nor_be_nan():
    assert LengthControlled(Fixed(Score(0.5)), lambda value, ratio: 9.0).score([Case("s", "a", "b")])[0].value == 0.5
    with pytest.raises(JudgeError, match="s7.*finite"):
        LengthControlled(Fixed(Score(0.5)), lambda value, ratio: float("nan")).score([Case("s7", "a", "b")])


@given(st.text(), st.text(min_size=1), st.sampled_from(["words", "characters"]), rules)
def test_wrapper_never_raises_the_score_of_any_text(candidate, reference, unit, rule):
    got = LengthControlled(Fixed(Score(0.7)), rule, unit).score([Case("s", candidate, reference)])[0]
    assert got.status is Status.UNSCORABLE or got.value <= 0.7


def test_wrong_choices_are_refused():
    with pytest.raises(JudgeError, match="lc_gren.*lc_green"):
        LengthControlled(Fixed(Score(1.0)), "lc_gren")
    with pytest.raises(JudgeError, match="letters"):
        LengthControlled(Fixed(Score(1.0)), unit="letters")
    with pytest.raises(JudgeError, match="cache"):
        overlong_penalty(1, 10, 20)
    with pytest.raises(JudgeError, match="reference_ids.*s3"):
        LengthControlled(Fixed(Score(1.0)), unit="tokens").score([Case("s3", "a", "b")])


def test_tokens_are_counted_where_the_ids_are_given():
    case = Case("s", "a", "b", completion_ids=(1, 2, 3, 4), columns={"reference_ids": [1, 2]})
    assert LengthControlled(Fixed(Score(1.0)), unit="tokens").score([case])[0].value == 0.5
