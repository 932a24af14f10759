"""What happens to candidates that are longer than what GREEN reads of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.green.overlong import GREEN_WORDS, RULES, penalise, unread_words

VALUES = st.floats(0, 1)


def test_words_beyond_the_300th_are_unread():
    assert [unread_words("word " * n) for n in (0, 1, 300, 301, 10_000)] == [0, 0, 0, 1, 9700]


def test_green_itself_reads_300_words():
    utils = pytest.importorskip("green_score.utils", reason="green-score is absent (requirements/green.txt)")
    assert utils.make_prompt("", "here " * 400).count("here ") + 1 - utils.make_prompt("", "x").count("here ") in (
        GREEN_WORDS,
        GREEN_WORDS + 1,
    )


@given(VALUES, st.integers(0, GREEN_WORDS))
def test_no_rule_touches_what_is_read_whole(value, words):
    assert all(rule(value, words) == value for rule in RULES.values())


@given(VALUES, st.integers(GREEN_WORDS + 1, 100_000))
def test_beyond_it_the_rules_differ(value, words):
    assert RULES["ignore"](value, words) == value
    assert RULES["unscorable"](value, words) is None
    charged = RULES["penalise"](value, words)
    assert 0 <= charged <= value and RULES["penalise"](value, words + 100) <= charged


def test_penalise_is_the_share_that_was_read():
    assert penalise(0.9, 450) == pytest.approx(0.6)  # 0.9 * 300 / 450
