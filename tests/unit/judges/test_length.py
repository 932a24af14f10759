"""Length control: the formulas by hand, and what every rule promises."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.base import Case, Score, Status
from judges.length import (
    RULES,
    LengthControlled,
    TargetBand,
    count_characters,
    count_words,
    lc_green,
    make_rule,
    next_multiplier,
    overlong_penalty,
    soft_overlong,
    symmetric,
    target_band,
    verbosity,
)
from online_rl.errors import JudgeError

values = st.floats(-1, 1)
ratios = st.floats(0, 1000)
multipliers = st.floats(-10, 10)
rules = st.one_of(
    st.sampled_from(sorted(RULES)).map(make_rule),
    multipliers.map(lambda m: lambda value, ratio: target_band(value, ratio, 0.8, 1.2, m)),
)
charging_length = st.one_of(
    st.sampled_from(sorted(RULES)).map(make_rule),
    st.floats(0, 10).map(lambda m: lambda value, ratio: target_band(value, ratio, 0.8, 1.2, m)),
)


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
    assert verbosity("ab c", "abcdef", count_characters) == 0.5
    assert lc_green(0.6, 1.5) == pytest.approx(0.4)
    assert lc_green(0.6, 0.2) == 0.6
    assert lc_green(-0.6, 1.5) == pytest.approx(-0.9)  # dividing would reward length
    assert symmetric(0.6, 0.5) == symmetric(0.6, 2.0) == pytest.approx(0.3)
    assert overlong_penalty(90, 100, 20) == -0.5  # half way through the last 20
    assert (overlong_penalty(80, 100, 20), overlong_penalty(101, 100, 20)) == (0, -1)
    assert soft_overlong(0.6, 1.5) == pytest.approx(0.3)
    assert soft_overlong(0.6, 1.5, form="subtractive") == pytest.approx(0.1)
    # 0.6 / (1 + 2 * 0.3) = 0.375, and as much on the other side with the other sign
    assert target_band(0.6, 1.5, 0.8, 1.2, 2.0) == target_band(0.6, 0.5, 0.8, 1.2, -2.0) == pytest.approx(0.375)
    assert target_band(-0.6, 1.5, 0.8, 1.2, 2.0) == pytest.approx(-0.96)


@given(rules, values, ratios)
def test_no_rule_raises_a_score(rule, value, ratio):
    assert rule(value, ratio) <= value


@given(charging_length, values, st.floats(1, 1000), st.floats(1, 1000))
def test_longer_never_scores_higher(rule, value, one, other):
    shorter, longer = sorted((one, other))
    assert rule(value, longer) <= rule(value, shorter) + 1e-12


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
    assert rule(worse, ratio) <= rule(better, ratio)


@given(values, st.floats(0.8, 1.2), multipliers)
def test_inside_the_band_nothing_changes(value, ratio, multiplier):
    assert target_band(value, ratio, 0.8, 1.2, multiplier) == value


@given(values, ratios, multipliers)
def test_only_the_side_that_the_multiplier_points_to_is_charged(value, ratio, multiplier):
    spared = ratio <= 1.2 if multiplier >= 0 else ratio >= 0.8
    assert not spared or target_band(value, ratio, 0.8, 1.2, multiplier) == value


@given(values, st.floats(0, 0.8), st.floats(0, 0.8), st.floats(-10, 0))
def test_shorter_never_scores_higher_while_reports_are_too_short(value, one, other, multiplier):
    shorter, longer = sorted((one, other))
    assert target_band(value, shorter, 0.8, 1.2, multiplier) <= target_band(value, longer, 0.8, 1.2, multiplier) + 1e-12


def test_the_multiplier_follows_the_mean():
    # 0 + 0.5 * (2.2 - 1.2) = 0.5; 0.5 + 0.5 * (1.0 - 1.2) = 0.4; then 0 before it turns: 0.4 + 0.5 * (0.2 - 1.2) < 0
    rule = TargetBand(0.8, 1.2, rate=0.5)
    seen = []
    for mean in (1.0, 2.2, 1.0, 0.2, 0.2, 0.8):
        rule.adapt(mean)
        seen.append(rule.multiplier)
    assert seen == pytest.approx([0.0, 0.5, 0.4, 0.0, -0.3, -0.3])


@given(multipliers, st.floats(0, 100), st.floats(0, 1), st.floats(0, 2), st.floats(0.01, 5))
def test_the_multiplier_moves_against_the_mean_and_stays_bounded(multiplier, mean, low, width, rate):
    high = low + width
    moved = next_multiplier(multiplier, mean, low, high, rate, limit=10.0)
    assert -10 <= moved <= 10
    if mean > high:
        assert moved >= multiplier
    elif mean < low:
        assert moved <= multiplier
    else:
        assert abs(moved) <= abs(multiplier) and moved * multiplier >= 0


@pytest.mark.parametrize("start", [2.5, 0.2])
def test_a_policy_that_answers_to_its_reward_ends_in_the_band(start):
    """Reports drift one way by 0.1 a step, and give way to what they are charged: the multiplier holds them."""
    rule, mean, drift = TargetBand(0.8, 1.2, rate=0.5), start, 0.1 if start > 1 else -0.1
    means = []
    for _ in range(200):
        excess = mean - 1.2 if rule.multiplier >= 0 else 0.8 - mean
        mean += drift - rule.multiplier * max(excess, 0.0)
        rule.adapt(mean)
        means.append(mean)
    assert 0.7 <= sum(means[-50:]) / 50 <= 1.3


def test_its_state_goes_on_where_it_stopped():
    judge = LengthControlled(Fixed(Score(0.8)), "target_band", args={"high": 1.0})
    case = Case("s1", "a b c", "a b")
    assert judge.score([case])[0].value == 0.8  # nothing is charged before the first step
    judge.adapt(3.0)
    again = LengthControlled(Fixed(Score(0.8)), "target_band", args={"high": 1.0})
    again.load_state_dict(judge.state_dict())
    [score] = again.score([case])
    assert score.value == pytest.approx(0.8 / 1.5) and score.parts["multiplier"] == 1.0  # 1 + 1.0 * (1.5 - 1)
    assert [s.value for s in judge.score([case])] == [score.value]
    assert LengthControlled(Fixed(Score(0.8))).state_dict() == {}


def test_the_judges_own_members_stay_there():
    class Counts(Fixed):
        def drain_metrics(self):
            return {"requests": 3.0}

    judge = LengthControlled(Counts(Score(0.5)))
    assert judge.drain_metrics() == {"requests": 3.0}
    assert not hasattr(judge, "start") and not hasattr(judge, "close")
    assert judge.granularity == "completion"
    judge.judge.granularity = "group"
    assert judge.granularity == "group"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no effusion.no pneumothorax", 4),
        ("normal.the heart,lungs and aorta:clear", 7),
        ("stable!!now", 2),
        ("a 1.5 cm nodule, 2,5 cm mass", 7),
        ("e.g. at 3 p.m. or 10:30", 6),
        ("t12.no fracture", 3),
        ("x-ray and/or ct", 3),
        ("clear... lungs .", 3),
        ("gauche.épanchement", 2),
        ("", 0),
    ],
)
def test_words_glued_to_punctuation_are_counted(text, words):
    assert count_words(text) == words


@given(st.lists(st.sampled_from(["no", "effusion", "is", "clear"]), min_size=1, max_size=30))
def test_leaving_spaces_out_after_sentences_shortens_nothing(words):
    assert count_words(".".join(words)) == count_words(". ".join(words))


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
    with pytest.raises(JudgeError, match="no length"):
        verbosity("a", reference)


def test_own_rule_cannot_raise_a_score_nor_be_nan():
    assert LengthControlled(Fixed(Score(0.5)), lambda value, ratio: 9.0).score([Case("s", "a", "b")])[0].value == 0.5
    with pytest.raises(JudgeError, match="s7.*finite"):
        LengthControlled(Fixed(Score(0.5)), lambda value, ratio: float("nan")).score([Case("s7", "a", "b")])


@given(st.text(), st.text(min_size=1), st.sampled_from(["words", "characters"]), st.sampled_from(sorted(RULES)))
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
    with pytest.raises(JudgeError, match="length_unit is tokens.*words or characters"):
        LengthControlled(Fixed(Score(1.0)), unit="tokens").score([Case("s3", "a", "b")])


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("lc_green", {"limit": 2}, "limit.*none"),
        ("soft_overlong", {"limt": 2}, "limt.*limit, cache, form"),
        ("soft_overlong", {"cache": 3.0}, "cache is 3.0"),
        ("soft_overlong", {"limit": "long"}, "numbers"),
        ("target_band", {"low": 1.5, "high": 1.0}, "low is 1.5, high is 1.0"),
        ("target_band", {"rate": 0}, "above 0"),
        ("target_band", {"low": "short"}, "numbers"),
    ],
)
def test_arguments_that_a_rule_does_not_take_are_refused(name, args, words):
    with pytest.raises(JudgeError, match=words):
        make_rule(name, args)


def test_units():
    case = Case("s", "aa bb.cc", "aa bbbb")  # 3 words, 7 characters, 2 tokens against 2, 6, 3
    ratios = [
        LengthControlled(Fixed(Score(1.0)), unit=unit, count_tokens=lambda text: 2 + ("bbbb" in text))
        .score([case])[0]
        .parts["verbosity"]
        for unit in ("words", "characters", "tokens")
    ]
    assert ratios == pytest.approx([3 / 2, 7 / 6, 2 / 3])
