"""Canaries are what their names say, honest judges order them, and a wrong order is said in plain words."""

from __future__ import annotations

import csv

import pytest

from judges.base import Case
from judges.canaries import NAMES, canary_cases, negated, wrong_order
from judges.findings import FindingsJudge
from judges.length import LengthControlled
from judges.text import clean_report

REFERENCE = "the heart is normal. no pleural effusion. small left nodule. tubes are unchanged."
RIGHT = {"empty": 0.0, "colon": 0.0, "template": 0.1, "copy": 1.0, "tripled": 0.33, "negated": 0.2}


def test_canaries_are_made_from_the_reference():
    case = Case("s1", "whatever", REFERENCE, "cough", completion_ids=(1, 2), columns={"view": "PA"})
    cases = canary_cases(case)
    assert tuple(cases) == NAMES
    assert (cases["empty"].candidate, cases["colon"].candidate, cases["copy"].candidate) == ("", ":", REFERENCE)
    assert cases["tripled"].candidate.count("small left nodule") == 3
    assert "Matched Findings" in cases["template"].candidate
    for canary in cases.values():
        assert (canary.study_id, canary.reference, canary.columns) == ("s1", REFERENCE, {"view": "PA"})
        assert canary.completion_ids == ()


def test_raw_texts_of_canaries_are_made_from_the_raw_reference():
    raw = "FINDINGS:\nThe heart is normal."
    cases = canary_cases(Case("s1", "x", "findings: the heart is normal.", raw_candidate="X", raw_reference=raw))
    assert cases["copy"].raw_candidate == raw and cases["copy"].candidate == "findings: the heart is normal."
    assert cases["empty"].raw_candidate == "" and "abnormal" in cases["negated"].raw_candidate
    assert "X" not in {case.raw_candidate for case in cases.values()}


@pytest.mark.parametrize(
    ("report", "turned"),
    [
        ("the heart is normal.", "the heart is abnormal."),
        ("no pleural effusion.", "there is pleural effusion."),
        ("There is no evidence of pneumothorax.", "There is pneumothorax."),
        ("there are small bilateral effusions.", "there are no small bilateral effusions."),
        ("lungs are clear without effusion.", "lungs are clear with effusion."),
        ("small left nodule.", "there is no small left nodule."),
        ("bony structures are intact.", "bony structures are fractured."),
        ("a nodule is seen.", "a nodule is not seen."),
    ],
)
def test_each_statement_is_turned_round(report, turned):
    assert negated(report) == turned


def test_every_sentence_with_a_word_changes():
    assert negated(REFERENCE) == (
        "the heart is abnormal. there is pleural effusion. there is no small left nodule. tubes are worse."
    )
    assert negated("...") == "..."


def test_an_honest_judge_orders_the_canaries_of_real_reports(shared):
    with (shared / "data" / "iu-xray" / "indiana_reports.csv").open(newline="", encoding="utf-8") as file:
        reports = [clean_report(row["findings"]) for row in csv.DictReader(file) if len(row["findings"].split()) > 4]
    for judge in (FindingsJudge(), LengthControlled(FindingsJudge(), "lc_green")):
        wrong = 0
        for report in reports[::5]:
            cases = canary_cases(Case("s", "", report))
            scores = judge.score(list(cases.values()))
            wrong += bool(wrong_order({name: score.value for name, score in zip(cases, scores, strict=True)}))
        assert wrong <= 0.02 * len(reports[::5])


def test_the_right_order_says_nothing():
    assert wrong_order(RIGHT) == []
    assert wrong_order({**RIGHT, "tripled": 1.0}) == []  # without length control GREEN itself cannot tell
    assert wrong_order({}) == []
    assert wrong_order({name: None for name in RIGHT}) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"colon": 1.0}, "one colon is worth 1.000"),
        ({"template": 1.4}, "echo of the judge's own answer form is worth 1.400"),
        ({"negated": 1.0}, "turned round"),
        ({"empty": 1.0}, "an empty report"),
        ({"tripled": 1.2}, "three times over is worth 1.200"),
        ({"copy": None}, "scores junk, but not a copy"),
    ],
)
def test_a_wrong_order_is_said_in_plain_words(values, words):
    problems = wrong_order({**RIGHT, **values})
    assert len(problems) == 1 and words in problems[0]


def test_what_could_not_be_scored_is_compared_with_nothing():
    assert wrong_order({**RIGHT, "template": None, "empty": None}) == []


def test_several_things_can_be_wrong_at_once():
    assert len(wrong_order({**RIGHT, "copy": 0.0})) == 5  # empty, colon, template, negated, tripled
