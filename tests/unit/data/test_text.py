"""One text for every spelling of a report, and CheXalign's for plain ones."""

from __future__ import annotations

import csv
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.text import clean_report, count_words, says_nothing
from online_rl.data.prompt import render_prompt


def chexalign(text: str) -> str:
    """The cleaning as CheXalign publishes it."""
    return re.sub(r"\s+", " ", re.sub(r"\[.*?\]", "", text).replace("**", "")).strip().lower()


@given(st.text(alphabet=st.characters(max_codepoint=126), max_size=200))
def test_plain_text_is_cleaned_as_chexalign_does(text):
    assert clean_report(text) == chexalign(text)


def test_real_reports_are_cleaned_as_chexalign_does(shared):
    with (shared / "data" / "iu-xray" / "indiana_reports.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["findings"] for row in csv.DictReader(file)]
    assert len(texts) > 3000
    assert [text for text in texts if clean_report(text) != chexalign(text)] == []


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("No  effusion.\r\nHeart normal.", "line ends"),
        ("No\u00a0effusion. Heart\u202fnormal.", "no-break spaces"),
        ("\ufeffNo eff\u200busion. Heart nor\u00admal.", "invisible characters"),
        ("\u202bNo effusion.\u202c Heart\u200e normal.", "bidirectional marks"),
        ("**No** effusion. [dictated] Heart normal.", "markup"),
    ],
)
def test_spellings_that_look_alike_are_one_text(spelling, name):
    assert clean_report(spelling) == "no effusion. heart normal.", name


def test_composed_and_decomposed_letters_are_one_text():
    text = "Épanchement pleural à gauche"
    assert clean_report(unicodedata.normalize("NFD", text)) == clean_report(unicodedata.normalize("NFC", text))


@given(st.text(alphabet=st.characters(), max_size=50))
def test_the_result_can_always_be_written(text):
    clean_report(text).encode("utf-8")
    clean_report("\ud83d" + text).encode("utf-8")


def test_emoji_stay_and_words_are_what_whitespace_parts():
    assert clean_report("Clear 👍🏽 lungs") == "clear 👍🏽 lungs"
    assert count_words(clean_report(" No\u00a0acute  process,\nstable. ")) == 4
    assert count_words("") == 0


@pytest.mark.parametrize(
    "text", ["", "  \n", "___", "XXXX. XXXX", "xxxx", "...", "[removed]", "\u200b", "** **", "-", "_ _"]
)
def test_a_report_without_a_word_says_nothing(text):
    assert says_nothing(text)


@pytest.mark.parametrize("text", ["Normal.", "XXXX clear.", "___ unchanged", "正常", "3"])
def test_a_report_with_a_word_says_something(text):
    assert not says_nothing(text)


def test_the_prompt_takes_the_indication_on_one_line_and_leaves_other_braces_alone():
    template = 'Given the indication: "{indication}", answer {"findings": ...}'
    assert render_prompt(template, " cough,\r\n fever {x} ") == (
        'Given the indication: "cough, fever {x}", answer {"findings": ...}'
    )
