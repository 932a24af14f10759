"""Each cleaning step does what its name says, and nothing that is not listed is cleaned."""

from __future__ import annotations

import csv
import json

import pytest
from PIL import Image

from judges.strategies import present
from online_rl.config import config_from_dict
from online_rl.data.cleaning import addenda, clean_reference, deidentified, headings, numbers, unwrap
from online_rl.data.comparisons import drop_comparisons
from online_rl.data.readers import read_studies
from online_rl.data.summary import describe
from online_rl.errors import ConfigError


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        (unwrap, "There is a small left pleural effusion with\n adjacent atelectasis in the left lower lobe.", None),
        (
            deidentified,
            "Compared with ___, no effusion. XXXX. Seen by Dr. ___.",
            "Compared with, no effusion. Seen by Dr.",
        ),
        (deidentified, "Size 3 mm. [**Hospital1 18**] Clear.", "Size 3 mm. Clear."),
        (deidentified, "The XXXX lungs are clear.", "The lungs are clear."),
        (deidentified, "No effusion.", "No effusion."),
        (numbers, "1. No effusion.\n2. Clear lungs.", "No effusion.\nClear lungs."),
        (numbers, "1) Clear. 2) Nodule of 1.5 cm.", "Clear. Nodule of 1.5 cm."),
        (numbers, "Fracture of rib 7. No effusion.", "Fracture of rib 7. No effusion."),
        (numbers, "2. Clear. 3. No effusion.", "2. Clear. 3. No effusion."),
        (headings, "LUNGS: Clear.\nPLEURA AND HEART: Normal.\nTip: 2 cm.", "Clear.\nNormal.\nTip: 2 cm."),
        (addenda, "Clear.\nADDENDUM: Called at 3 pm.\nMore.", "Clear."),
        (addenda, "Clear. *** ADDENDUM *** Called.", "Clear."),
        (addenda, "No addendum is needed.", "No addendum is needed."),
    ],
)
def test_each_step(step, text, expected):
    assert step(text) == (expected if expected is not None else " ".join(text.split()))


# From IU X-ray's references, some shortened.
KEPT = [
    "Clips from prior cholecystectomy are noted.",
    "Prior granulomatous disease.",
    "Right hilar calcifications suggest a previous granulomatous process.",
    "Soft tissue density in the medial right apex which is asymmetric compared to left.",
    "There is increased kyphosis of the thoracic spine.",
    "Vague increased opacity within the left lower lobe.",
    "Decreased lung volumes.",
    "Recommend follow up chest radiograph to document resolution.",
    "There are degenerative changes of the thoracic spine.",
    "No focal consolidation, pneumothorax or pleural effusion.",
    "The cardiomediastinal silhouette is normal in size and contour.",
]
REWRITTEN = [
    ("Stable small left effusion.", "Small left effusion."),
    (
        "Heart size within normal limits, stable mediastinal contours.",
        "Heart size within normal limits, mediastinal contours.",
    ),
    ("Persistent small bilateral pleural effusions.", "Small bilateral pleural effusions."),
    (
        "Calcified granuloma is again seen in the right upper lobe.",
        "Calcified granuloma is seen in the right upper lobe.",
    ),
    ("Pulmonary vascular congestion again noted.", "Pulmonary vascular congestion noted."),
    ("Vascular congestion is redemonstrated.", "Vascular congestion is demonstrated."),
    ("Cardiomegaly is stable.", "Cardiomegaly."),
    ("The heart is again mildly enlarged.", "The heart is mildly enlarged."),
    ("There is a new right pleural effusion.", "There is a right pleural effusion."),
    ("Mild cardiomegaly, unchanged since the previous examination.", "Mild cardiomegaly."),
    ("Compared to the prior study of ___, there is a left effusion.", "There is a left effusion."),
    ("In comparison with the study of ___, there is mild edema.", "There is mild edema."),
    ("Small left effusion, similar to prior.", "Small left effusion."),
    ("The left hemidiaphragm remains elevated.", "The left hemidiaphragm is elevated."),
    ("The right pleural effusion has not significantly changed.", "The right pleural effusion."),
    ("The left effusion has remained stable.", "The left effusion."),
    ("There are no new or enlarging nodules.", "There are no enlarging nodules."),
    ("No new or acute fracture.", "No acute fracture."),
    ("No new, focal or lobar consolidation.", "No focal or lobar consolidation."),
    ("New, and small, right effusion.", "Small, right effusion."),
    ("There is opacity in the left base as compared to the prior radiograph.", "There is opacity in the left base."),
]
DROPPED = [
    "These are unchanged since the previous examination.",
    "The heart is unchanged.",
    "No interval change.",
    "The heart has not changed.",
    "The nodule is stable or enlarging.",
    "Stable cardiomediastinal silhouette.",
    "No significant change compared to prior.",
    "Interval improvement in left base consolidative opacity.",
    "Previously seen left pleural effusion has resolved.",
    "The left effusion has increased.",
    "The previously seen right-sided PICC has been removed.",
    "Improved basilar aeration.",
    "Stable appearance of the chest since the prior study.",
    "There has been no change in position of the catheter since the prior exam.",
]


@pytest.mark.parametrize("sentence", KEPT)
def test_what_is_no_comparison_stays(sentence):
    assert drop_comparisons(sentence) == sentence


@pytest.mark.parametrize(("sentence", "expected"), REWRITTEN)
def test_what_can_be_said_without_the_prior_is(sentence, expected):
    assert drop_comparisons(f"Clear. {sentence} Normal.") == f"Clear. {expected} Normal."


@pytest.mark.parametrize("sentence", DROPPED)
def test_what_says_a_change_alone_is_dropped(sentence):
    assert drop_comparisons(f"Left nodule. {sentence} No effusion.") == "Left nodule. No effusion."


def test_real_references_lose_their_comparisons_and_keep_their_findings(shared):
    """IU X-ray's findings: few words of change are left, and nearly every present finding is still there."""
    with (shared / "data" / "iu-xray" / "indiana_reports.csv").open(newline="") as file:
        texts = [row["findings"] for row in csv.DictReader(file) if row["findings"]]
    changed = [(text, drop_comparisons(text)) for text in texts if drop_comparisons(text) != text]
    assert 300 < len(changed) < 900
    left = [
        after for _, after in changed if " unchanged" in after or "nterval " in after.replace("interval follow", "")
    ]
    assert len(left) < 0.02 * len(changed)
    before = sum(len(present(text)) for text, _ in changed)
    after = sum(len(set(present(text)) & set(present(kept))) for text, kept in changed)
    assert after > 0.85 * before


def test_steps_are_listed_counted_and_shown(tmp_path):
    Image.new("L", (16, 16)).save(tmp_path / "x.png")
    texts = ["1. Stable effusion.\n2. Clear.", "No interval change.", "Clear."]
    rows = [{"id": n, "image": "x.png", "findings": text, "split": "train"} for n, text in enumerate(texts)]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"reader": "jsonl", "path": str(tmp_path / "s.jsonl")}
    assert [study.reference for study in read_studies(config_from_dict({"data": data})).train] == texts
    studies = read_studies(config_from_dict({"data": {**data, "clean": ["drop_comparisons", "numbers"]}}))
    assert [study.reference for study in studies.train] == ["Effusion.\nClear.", "Clear."]
    lines = describe(studies)
    assert "data.clean changed references: numbers: 1, drop_comparisons: 2" in lines
    assert "left out: nothing left by data.clean: 1 (first: s.jsonl:2)" in lines
    with pytest.raises(ConfigError, match=r"data\.clean\[0\]: found 'comparisons', expected one of"):
        config_from_dict({"data": {"clean": ["comparisons"]}})


def test_without_steps_nothing_changes():
    assert clean_reference("1. ___ STABLE:\n x", []) == ("1. ___ STABLE:\n x", [])
