"""The reports of the demo world say what the labels say, in bounded length and vocabulary."""

import re

import pytest

from online_rl.demo import phrases
from online_rl.demo.reports import SENTENCES, WORDS
from online_rl.demo.world import plan_patients

PLANS = plan_patients(1500, seed=7)
TERMS = {
    "effusion": r"effusion",
    "pneumothorax": r"pneumothorax",
    "consolidation": r"consolidation|opacity",
    "edema": r"edema",
    "cardiomegaly": r"cardiomegaly|(heart|silhouette).* enlarged|enlargement of the cardiac",
    "atelectasis": r"atelectasis",
    "nodule": r"nodule|nodular",
    "endotracheal_tube": r"endotracheal tube",
    "central_line": r"central venous catheter",
    "pacemaker": r"pacemaker",
    "sternotomy_wires": r"sternotomy wires",
    "nasogastric_tube": r"nasogastric tube",
}
NEGATION = re.compile(r"^no |there is no|no evidence|not enlarged|free of", re.I)
COMPARISON = re.compile(r"prior|unchanged|increased|decreased|worsened|improved|resolved|\bnew\b", re.I)


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in text.split(".") if sentence.strip()]


def _stating(text: str, name: str) -> list[str]:
    return [s for s in _sentences(text) if re.search(TERMS[name], s, re.I) and not NEGATION.search(s)]


@pytest.mark.parametrize("name", TERMS)
def test_every_finding_is_stated_with_its_side_and_severity(name):
    told = 0
    for plan in PLANS:
        for finding in plan.findings:
            if finding.name != name:
                continue
            stating = " ".join(_stating(plan.row["findings"], name)).lower()
            assert stating, plan.row["study_id"]
            for word in (finding.severity, finding.side if finding.side != "bilateral" else None):
                assert word is None or re.search(rf"\b{word}", stating), (plan.row["study_id"], word)
            if finding.side == "bilateral":
                assert re.search(r"\bbilateral|\bboth", stating)
            if finding.zone and name in ("consolidation", "nodule"):
                assert re.search(rf"\b{finding.zone}\b", stating), (plan.row["study_id"], finding.zone)
            if finding.size_mm:
                assert f"{finding.size_mm} mm" in stating
            told += 1
    assert told > 10


@pytest.mark.parametrize("name", TERMS)
def test_nothing_is_stated_that_is_not_there(name):
    for plan in PLANS:
        if all(finding.name != name for finding in plan.findings):
            stating = _stating(plan.row["findings"], name)
            if name == "consolidation":  # linear opacities of atelectasis and perihilar ones of edema are opacities too
                stating = [s for s in stating if not re.search("atelectasis|edema", s)]
            assert not stating, plan.row["study_id"]


def test_no_report_compares_with_another_study():
    """One image cannot show what has changed."""
    assert not [plan.row["study_id"] for plan in PLANS if COMPARISON.search(plan.row["findings"])]


HINTS = re.compile("|".join(re.escape(hint) for hints in phrases.HINTS.values() for hint in hints), re.I)
NAMES = re.compile(r"effusion|pneumothorax|opacity|edema|cardiomegaly|atelectasis|nodule", re.I)


def test_a_quarter_of_the_first_indications_hint_at_a_finding():
    first = [plan for plan in PLANS if plan.row["study_id"].endswith("_s1")]
    hinted = [plan for plan in first if HINTS.search(plan.row["indication"])]
    assert 0.2 < len(hinted) / len(first) < 0.32
    # A hint can be wrong: that the image shows nothing is never given away.
    assert 0.1 < sum(not plan.findings for plan in hinted) / len(hinted) < 0.5


def test_most_follow_ups_do_not_name_what_they_follow():
    later = [plan for plan in PLANS if not plan.row["study_id"].endswith("_s1")]
    naming = [plan for plan in later if NAMES.search(plan.row["indication"])]
    assert 0.05 < len(naming) / len(later) < 0.25
    told = [{NAMES.search(plan.row["indication"])[0].lower()} & NAMED[plan.row["study_id"]] for plan in naming]
    assert 0.3 < sum(map(bool, told)) / len(told) < 0.95  # what they name may have resolved


NAMED = {
    plan.row["study_id"]: {{"consolidation": "opacity"}.get(finding.name, finding.name) for finding in plan.findings}
    for plan in PLANS
}


def test_indications_vary():
    seen = {plan.row["indication"] for plan in PLANS if plan.row["split"] == "train"}
    held_out = [plan.row["indication"] for plan in PLANS if plan.row["split"] == "eval"]
    assert sum(indication in seen for indication in held_out) / len(held_out) < 0.7


def test_length():
    words = [len(plan.row["findings"].split()) for plan in PLANS]
    assert min(words) >= WORDS[0] == 30
    assert max(words) <= WORDS[1] == 60
    assert 39 < sum(words) / len(words) < 45
    sentences = [len(_sentences(plan.row["findings"])) for plan in PLANS]
    assert (min(sentences), max(sentences)) == SENTENCES == (4, 7)


def test_vocabulary_fits_a_small_language_model():
    texts = " ".join(plan.row["findings"] + " " + plan.row["indication"] for plan in PLANS).lower()
    assert 200 < len(set(re.findall(r"[a-z]+", texts))) < 700


def test_language_varies():
    normal = {plan.row["findings"] for plan in PLANS if not plan.findings}
    assert len(normal) > 0.95 * sum(not plan.findings for plan in PLANS)


def test_sentences_begin_with_a_capital_and_leave_no_slot_open():
    for plan in PLANS:
        text = plan.row["findings"]
        assert all(sentence[0].isupper() for sentence in _sentences(text)), plan.row["study_id"]
        assert not re.search(r"[{}]|  | \.|None", text), plan.row["study_id"]
