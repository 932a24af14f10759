"""Answers, read strictly; accuracy and McNemar's test by hand."""

from __future__ import annotations

import pytest

from online_rl.vqa.accuracy import compare, mcnemar, summarise
from online_rl.vqa.answers import is_right, read_answer
from online_rl.vqa.questions import YES_NO, Question


def question(options=("AP", "PA", "lateral"), answer=2, text="Which view?") -> Question:
    return Question("q", "chexbench", "view", (), text, tuple(options), answer, "p", "")


@pytest.mark.parametrize(
    ("said", "index"),
    [
        *(("C", 2), ("c", 2), ("(C)", 2), ("C.", 2), ("C) lateral", 2), ("[B] PA.", 1), ("Answer: C", 2)),
        *(
            ("The answer is (A).", 0),
            ("Option B", 1),
            ("lateral", 2),
            ("Lateral.", 2),
            (" C \n", 2),
            ("The lateral", 2),
        ),
        *(("D", None), ("", None), ("A or B", None), ("A. lateral", None), ("C because the spine is seen", None)),
        *(("The heart is enlarged. Clear lungs.", None), ("2", None), ("AB", None), ("A B", None), ("none", None)),
        ("A report: C", None),
    ],
)
def test_a_letter_or_the_options_words_and_nothing_else(said, index):
    assert read_answer(question(), said) == index


def test_options_that_look_like_letters_or_each_other():
    assert read_answer(question(("b", "a"), 0), "b") == 0, "the option's own text comes first"
    assert read_answer(question(("left", "Left.", "right"), 0), "left") is None, "two options are that word"
    assert read_answer(question(("left", "Left.", "right"), 0), "A") == 0
    assert read_answer(question(("a", "b"), 0), "a") == 0


@pytest.mark.parametrize(
    ("said", "index"),
    [("Yes", 0), ("no.", 1), ("No, it is normal.", 1), ("Answer: yes", 0), ("No pneumothorax is seen.", None)]
    + [("yesterday", None), ("not sure", None), ("It is enlarged", None), ("", None), ("Yes or no", None)],
)
def test_yes_and_no(said, index):
    assert read_answer(question(YES_NO, 0), said) == index


def test_a_word_is_compared_without_case_and_punctuation():
    asked = question((), "Left lung")
    assert is_right(asked, read_answer(asked, "the left lung.")) and not is_right(
        asked, read_answer(asked, "right lung")
    )
    assert read_answer(asked, " . ") is None and not is_right(asked, None)
    assert is_right(question((), "2"), read_answer(question((), "2"), "2"))


def row(name: str, right: bool, status="read", source="slake", task="size", group=None) -> dict:
    group = group or name
    return {"question_id": name, "source": source, "task": task, "group": group, "status": status, "right": right}


def test_an_unreadable_answer_is_wrong_and_one_that_was_not_asked_is_left_out():
    rows = [
        row("a", True),
        row("b", False, "unreadable"),
        row("c", False, "bad_image"),
        row("d", True, source="vqa_rad"),
    ]
    found = summarise(rows)
    assert list(found) == ["all", "slake", "slake/size", "vqa_rad", "vqa_rad/size"]
    assert found["all"]["accuracy"] == pytest.approx(2 / 3) and found["all"]["questions"] == 3
    assert (found["slake"]["accuracy"], found["slake"]["unreadable"], found["slake"]["not_asked"]) == (0.5, 1, 1)
    assert found["slake"]["low"] < 0.5 < found["slake"]["high"] and found["vqa_rad"]["low"] is None
    nothing = summarise([row("c", False, "bad_image")])["all"]
    assert nothing["accuracy"] is None and nothing["questions"] == 0, "never 0 for what was not asked"


def test_questions_about_one_image_are_drawn_together():
    alone = summarise([row(str(i), i < 20) for i in range(40)])["all"]
    together = summarise([row(str(i), i < 20, group=str(i // 10)) for i in range(40)])["all"]
    assert together["high"] - together["low"] > 2 * (alone["high"] - alone["low"])


def test_mcnemar_by_hand():
    ours = [row(str(i), i < 9) for i in range(12)]
    theirs = [row(str(i), i == 8 or i == 9) for i in range(12)] + [row("else", True)]
    found = compare(ours, theirs)["all"]
    assert (found["only_ours_right"], found["only_theirs_right"]) == (8, 1)
    assert found["difference"] == pytest.approx((9 - 2) / 12)
    assert found["p"] == pytest.approx(2 * (1 + 9) / 2**9, abs=1e-12)
    assert mcnemar(0, 0) == 1.0 and mcnemar(3, 3) == 1.0
