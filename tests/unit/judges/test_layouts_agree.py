"""A report and its rewriting in another lay-out are the same report to the findings judge, raw and cleaned."""

from __future__ import annotations

import csv

import pytest

from judges.base import Case
from judges.findings import FindingsJudge
from judges.findings.parse import parse
from judges.text import clean_report, clean_statements, count_words
from online_rl.demo.world import plan_patients
from tests.rewriting import LAYOUTS

JUDGE = FindingsJudge()


@pytest.fixture(scope="module")
def demo_reports() -> list[str]:
    return [plan.row["findings"] for plan in plan_patients(200, seed=3)]


@pytest.fixture(scope="module")
def real_reports(shared) -> list[str]:
    with (shared / "data" / "iu-xray" / "indiana_reports.csv").open(newline="", encoding="utf-8") as file:
        return [row["findings"] for row in csv.DictReader(file) if len(row["findings"].split()) >= 5]


def disagreements(reports: list[str]) -> list[tuple[str, str]]:
    """(lay-out, report) where a rewriting and the report do not score 1 against each other and themselves."""
    wrong = []
    for report in reports:
        if not parse(report).findings:
            continue
        for name, rewrite in LAYOUTS.items():
            other = rewrite(report)
            cases = [Case("1", other, report), Case("2", report, other), Case("3", other, other)]
            cases.append(Case("4", clean_statements(other), clean_statements(report)))
            if any(score.value != 1.0 for score in JUDGE.score(cases)):
                wrong.append((name, other))
    return wrong


def test_a_demo_report_is_the_same_in_every_layout(demo_reports):
    assert disagreements(demo_reports) == []


def test_a_real_report_is_the_same_in_every_layout(real_reports):
    assert disagreements(real_reports[::8]) == []


TEXTS = [
    "- No effusion\n- Cardiomegaly",
    "LUNGS: clear\n\nPLEURA:\nSmall [sic] left\neffusion.",
    "| **Effusion** | none |\n| Edema | mild |",
    "No pneumothorax\nModerate right pleural effusion\nCardiomegaly",
    "The heart is\nenlarged. No\r\neffusion.",
]


@pytest.mark.parametrize("text", TEXTS)
def test_cleaning_keeps_the_words_and_what_is_read(text):
    cleaned = clean_statements(text)
    assert cleaned.split() == clean_report(text).split()
    assert count_words(cleaned) == count_words(clean_report(text))
    assert clean_statements(cleaned) == cleaned
    assert parse(cleaned) == parse(text)


def test_cleaning_keeps_what_is_read_of_the_corpus(corpus):
    for row in corpus.read_corpus():
        if "[" not in row["text"]:  # what stands in brackets is dropped
            assert parse(clean_statements(row["text"])).findings == parse(row["text"]).findings, row["text"]
        assert clean_statements(row["text"]).split() == clean_report(row["text"]).split()


def test_a_wrap_is_gone_and_the_end_of_an_item_stays():
    assert clean_statements("- No effusion or\n  edema\n- Nodule") == "- no effusion or edema\n\n- nodule"
