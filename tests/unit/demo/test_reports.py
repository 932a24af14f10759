"""The reports of the demo world say what the labels say, in bounded length and vocabulary."""

import re

import pytest

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
NEGATION = re.compile(r"^no |there is no(?! change)|no evidence|not enlarged|has resolved|free of", re.I)
CHANGE = {
    "unchanged": r"unchanged|stable|no change",
    "increased": r"increased|worsened",
    "decreased": r"decreased|improved",
    "new": r"\bnew\b",
}
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


def test_comparisons_are_made_only_with_a_prior_and_say_which_way():
    compared = 0
    for plan in PLANS:
        text = plan.row["findings"]
        if plan.row["study_id"].endswith("_s1"):
            assert not COMPARISON.search(text), plan.row["study_id"]
            assert not COMPARISON.search(plan.row["indication"])
        for finding in plan.findings:
            if finding.change:
                stating = " ".join(_stating(text, finding.name))
                assert re.search(CHANGE[finding.change], stating), (plan.row["study_id"], finding.label())
                compared += 1
    assert compared > 200


def test_a_follow_up_indication_foretells_a_comparison():
    followed = [
        plan for plan in PLANS if re.search(r"follow up (left|right|bilateral)", plan.row["indication"].lower())
    ]
    assert len(followed) > 50
    assert all(COMPARISON.search(plan.row["findings"]) for plan in followed)


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
