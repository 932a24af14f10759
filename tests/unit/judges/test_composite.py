"""Several judges as one reward: sums, gates and normalisation by hand, and nothing made up for what is not scored."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.base import Score
from judges.composite import Blend, Condition, Term, parse_gate
from online_rl.errors import JudgeError


def scores(**values):
    return {name: value if isinstance(value, Score) else Score(value) for name, value in values.items()}


def findings(value, false_finding):
    return Score(value, parts={"false_finding": false_finding, "raw": value})


def test_the_reward_is_the_weighted_sum():
    blend = Blend([Term("a", 2.0), Term("b", -0.5), Term("watched", 0.0)])
    assert blend.reward(scores(a=0.5, b=1.0, watched=9.0)) == 0.5
    assert blend.learned([scores(a=0.5, b=1.0, watched=9.0), None]) == [0.5, None]


def test_what_a_judge_cannot_score_is_no_reward():
    blend = Blend([Term("a"), Term("watched", 0.0)])
    assert blend.reward(scores(a=0.5, watched=Score.unscorable("no"))) is None
    assert blend.reward(scores(a=Score.unscorable("no"), watched=1.0)) is None


def test_a_closed_gate_adds_nothing():
    blend = Blend([Term("fluent", 1.0, parse_gate("findings.false_finding == 0")), Term("findings", 2.0)])
    assert blend.reward(scores(fluent=0.5, findings=findings(0.25, 0.0))) == 1.0
    assert blend.reward(scores(fluent=0.5, findings=findings(0.25, 1.0))) == 0.5


def test_a_gate_may_read_a_guard_and_then_needs_it():
    blend = Blend([Term("fluent", 1.0, parse_gate("findings.value >= 0.5"))])
    assert blend.reward(scores(fluent=0.5, findings=0.5, other=Score.unscorable("not asked"))) == 0.5
    assert blend.reward(scores(fluent=0.5, findings=0.4)) == 0.0
    assert blend.reward(scores(fluent=0.5, findings=Score.unscorable("no"))) is None


def test_normalising_first_by_hand():
    # a: 0, 1, 2 has mean 1 and deviation 1; b: 0, 0, 300 has mean 100 and deviation 173.2051
    blend = Blend([Term("a", 1.0), Term("b", 2.0)], "normalize_then_sum")
    group = [scores(a=0.0, b=0.0), scores(a=1.0, b=0.0), scores(a=2.0, b=300.0)]
    z = 100 / (173.2050808 + 1e-4)
    assert blend.learned(group) == pytest.approx([-1 / 1.0001 - 2 * z, -2 * z, 1 / 1.0001 + 4 * z])
    assert Blend(blend.terms).learned(group) == [0.0, 1.0, 602.0]


def test_normalising_agrees_with_the_formula_of_trl():
    torch = pytest.importorskip("torch")
    values = torch.rand(4, 3, generator=torch.manual_seed(0), dtype=torch.float64)  # (candidates, judges)
    weights = torch.tensor([1.0, 0.5, -2.0], dtype=torch.float64)
    expected = ((values - values.mean(0)) / (values.std(0) + 1e-4) * weights).sum(1)
    blend = Blend([Term(n, w) for n, w in zip("abc", weights.tolist(), strict=True)], "normalize_then_sum")
    got = blend.learned([scores(**dict(zip("abc", row, strict=True))) for row in values.tolist()])
    assert got == pytest.approx(expected.tolist())


def test_unscorable_and_masked_candidates_are_in_no_mean():
    blend = Blend([Term("a")], "normalize_then_sum")
    group = [scores(a=0.0), None, scores(a=Score.unscorable("no")), scores(a=2.0)]
    half = 1 / (2**0.5 + 1e-4)
    assert blend.learned(group) == [pytest.approx(-half), None, None, pytest.approx(half)]
    assert blend.learned([scores(a=3.0), None]) == [0.0, None]
    assert blend.learned([None]) == [None]


@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=8), st.floats(-100, 100), st.floats(0.1, 100), st.integers(0, 10**6)
)
def test_normalised_judges_do_not_depend_on_their_scale(values, shift, scale, seed):
    if max(values) - min(values) < 0.1:
        return
    blend = Blend([Term("a"), Term("b", 0.5)], "normalize_then_sum")
    other = [float((seed >> i) % 7) for i in range(len(values))]
    plain = [scores(a=v, b=o) for v, o in zip(values, other, strict=True)]
    moved = [scores(a=v * scale + shift, b=o) for v, o in zip(values, other, strict=True)]
    # equal but for the 1e-4 beside a deviation of at least 0.1 * 0.1 / 8 ** 0.5
    assert blend.learned(moved) == pytest.approx(blend.learned(plain), abs=0.15)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("findings.false_finding == 0", [("findings", "false_finding", "==", 0.0)]),
        ("  my judge.v2.raw>=-.5e-1 ", [("my judge.v2", "raw", ">=", -0.05)]),
        ("a.x < 3 and b.value != 1.", [("a", "x", "<", 3.0), ("b", "value", "!=", 1.0)]),
    ],
)
def test_gates_that_can_be_read(text, expected):
    assert list(parse_gate(text)) == [Condition(*fields) for fields in expected]


@pytest.mark.parametrize(
    "text", ["", "findings", "findings.x = 0", "findings.x == y", "0 == findings.x", "findings.x == 0 or a.y == 1",
             "__import__('os').system('true') == 0", "a.x == nan", "a.x == 0 and", ".x == 0"]
)  # fmt: skip
def test_gates_that_cannot(text):
    with pytest.raises(JudgeError, match="only_if.*judge.part"):
        parse_gate(text)


@given(st.text(max_size=40))
def test_any_text_is_a_gate_or_refused(text):
    with contextlib.suppress(JudgeError):
        assert parse_gate(text)


def test_a_part_that_is_not_there_is_named():
    blend = Blend([Term("a", 1.0, parse_gate("findings.false_findings == 0"))])
    with pytest.raises(JudgeError, match="'findings' gave no part 'false_findings'; it gave false_finding, raw, value"):
        blend.reward(scores(a=1.0, findings=findings(0.5, 0.0)))
