"""What the findings judge reads out of one report. Tables: +present -absent ?doubtful, then place and severity."""

from __future__ import annotations

import pytest

from judges.findings.parse import parse


def stated(text: str) -> set[str]:
    """ "Small left effusion, no pneumothorax" -> {"+effusion L1", "-pneumothorax"}"""
    out = set()
    for entity, finding in parse(text).findings.items():
        where = "".join(sorted(finding.sides, key="LR".index)) + "".join(sorted(finding.zones, key="UMD".index))
        detail = where + "".join(sorted(finding.severity)) if finding.present else ""
        sign = "-" if not finding.present else "?" if finding.uncertain else "+"
        out.add(f"{sign}{entity} {detail}".strip())
    return out


def compared(text: str) -> set[tuple[str, str]]:
    return {(c.direction, "+".join(sorted(c.targets))) for c in parse(text).comparisons}


NEGATION = [
    ("No pleural effusion or pneumothorax.", "-effusion", "-pneumothorax"),
    ("No focal consolidation, effusion, or pneumothorax.", "-consolidation", "-effusion", "-pneumothorax"),
    ("There is no pneumothorax large pleural effusion.", "-pneumothorax", "-effusion"),
    ("Negative for pneumothorax, pleural effusion.", "-pneumothorax", "-effusion"),
    ("The lungs are free of focal airspace disease.", "-consolidation"),
    ("Heart is normal without effusion.", "-cardiomegaly", "-effusion"),
    ("Neither effusion nor pneumothorax is present.", "-effusion", "-pneumothorax"),
    ("A pleural effusion is not seen.", "-effusion"),
    ("Consolidation, effusion, and pneumothorax are not seen.", "-consolidation", "-effusion", "-pneumothorax"),
    ("There is cardiomegaly, effusion is not seen.", "+cardiomegaly", "-effusion"),
    ("The left effusion has resolved.", "-effusion"),
    ("The previously seen effusion is no longer visualized.", "-effusion"),
    ("Pneumothorax has been ruled out.", "-pneumothorax"),
    ("No airspace opacity to suggest pneumonia.", "-consolidation"),
    ("No findings to suggest pulmonary edema.", "-edema"),
    ("No pneumothorax, but a small effusion on the right.", "-pneumothorax", "+effusion R1"),
    ("No effusion, small nodule in the right upper lobe.", "-effusion", "+nodule RU1"),
    ("No pneumothorax and small effusion.", "-pneumothorax", "+effusion 1"),
    ("There is no consolidation and the heart is enlarged.", "-consolidation", "+cardiomegaly"),
    ("No consolidation, heart size normal, lungs clear.", "-consolidation", "-cardiomegaly", "-lung_disease"),
    ("No there is an dextroscoliosis of the thoracic spine.", "+scoliosis"),
    ("Mild cardiomegaly without edema, stable left effusion.", "+cardiomegaly 1", "-edema", "+effusion L"),
    ("No pleural effusions, and there is pneumothorax.", "-effusion", "+pneumothorax"),
    ("No change in the effusion.", "+effusion"),
    ("No significant interval change in the large hiatal hernia.", "+hernia 3"),
    ("Without change in the right pneumothorax.", "+pneumothorax R"),
    ("The heart is not enlarged.", "-cardiomegaly"),
    ("The heart is not significantly enlarged.", "-cardiomegaly"),
    ("The mediastinum is not widened.", "-mediastinal_widening"),
    ("There is no evidence of pneumothorax after removal of the right chest tube.", "-pneumothorax", "-chest_tube"),
    ("Endotracheal tube and NG tube have been removed.", "-et_tube", "-ng_tube"),
    ("No effusion. There is a small left effusion.", "+effusion L1"),
    ("Effusion isn't seen.", "-effusion"),
    ("Effusion isn\u2019t seen.", "-effusion"),
    ("Pneumothorax wasn't present.", "-pneumothorax"),
    ("Effusions aren\u2019t identified.", "-effusion"),
    ("The effusion hasn't resolved.", "+effusion"),
    ("No focal consolidation; pleural effusion; or pneumothorax.", "-consolidation", "-effusion", "-pneumothorax"),
    ("The heart is enlarged; no effusion; or pneumothorax.", "+cardiomegaly", "-effusion", "-pneumothorax"),
    ("No focal consolidation; small pleural effusion.", "-consolidation", "+effusion 1"),
]

OLD_AFTER_A_DENIAL = [
    ("No pneumothorax, healed left rib fractures.", "-pneumothorax", "+old_fracture L"),
    ("No acute fracture, old rib fractures noted.", "-fracture", "+old_fracture"),
    ("No effusion, remote rib fracture.", "-effusion", "+old_fracture"),
    ("No acute fracture, healing rib fracture.", "-fracture", "+old_fracture"),
    ("No consolidation, chronic interstitial changes noted.", "-consolidation", "+interstitial"),
    ("No acute, subacute or chronic fracture.", "-old_fracture"),
    ("No acute, chronic or healing fracture.", "-old_fracture"),
    ("No old or acute fracture.", "-old_fracture"),
    ("No acute fracture, healed fracture, or dislocation.", "-fracture", "-old_fracture", "-dislocation"),
]

# Denying a complication of an operation denies neither device nor lesion; nor does a tip out of sight deny its tube.
DEVICES = [
    ("No pneumothorax after right IJ line placement.", "-pneumothorax", "+central_line R"),
    ("No pneumothorax following pacemaker placement.", "-pneumothorax", "+pacemaker"),
    ("No pneumothorax post placement of a left PICC line.", "-pneumothorax", "+central_line L"),
    ("No pneumothorax from central line placement.", "-pneumothorax", "+central_line"),
    ("No pneumothorax post biopsy of the right upper lobe mass.", "-pneumothorax", "+nodule RU"),
    ("No pneumothorax or effusion following median sternotomy.", "-pneumothorax", "-effusion", "+sternotomy"),
    ("No pneumothorax or effusion after treatment of the pneumonia.", "-pneumothorax", "-effusion", "-consolidation"),
    ("No pneumothorax status post chest tube removal.", "-pneumothorax", "-chest_tube"),
    ("No pneumothorax after chest tube removal.", "-pneumothorax", "-chest_tube"),
    ("Small effusion after PICC removal.", "+effusion 1", "-central_line"),
    ("ET tube tip not visualized.", "+et_tube"),
    ("The tip of the NG tube is not identified.", "+ng_tube"),
    ("PICC tip cannot be seen.", "+central_line"),
    ("ET tube is not visualized.", "-et_tube"),
    ("ET tube tip is at the carina, effusion is not seen.", "+et_tube", "-effusion"),
]

ONE_SIDE = [
    ("Right-sided effusion, none on the left.", "+effusion R"),
    ("Right-sided effusion, none seen.", "-effusion"),
    ("Right effusion, not seen on the left.", "+effusion R"),
    ("Bilateral effusions, resolved on the right.", "+effusion L"),
    ("Bibasilar opacities, resolved on the left.", "+opacity RD"),
    ("Pneumothorax on the right has resolved on the right.", "-pneumothorax"),
    ("Small right and no left effusion.", "+effusion R1"),
    ("Moderate right, no left effusion.", "+effusion R2"),
    ("Right chest tube and no left pneumothorax.", "+chest_tube R", "-pneumothorax"),
    ("Effusion on the right has resolved but persists on the left.", "+effusion L"),
    ("The right effusion has resolved, the left is smaller.", "+effusion L"),
    ("Effusion not seen on the right but present on the left.", "+effusion L"),
    ("The right effusion has resolved and the heart is unchanged.", "-effusion"),
    ("The left effusion has resolved, the right paratracheal stripe is unchanged.", "-effusion"),
]

DOUBT = [
    ("Small left apical pneumothorax cannot be excluded.", "?pneumothorax LU1"),
    ("Pneumonia is not excluded.", "?consolidation"),
    ("Pneumonia cannot be definitively excluded.", "?consolidation"),
    ("Pneumonia cannot be entirely excluded.", "?consolidation"),
    ("Pneumonia cannot entirely be excluded.", "?consolidation"),
    ("Pneumonia cannot be entirely ruled out.", "?consolidation"),
    ("Pneumonia can't be safely excluded.", "?consolidation"),
    ("Pneumonia has not been excluded.", "?consolidation"),
    ("Pneumonia should be excluded.", "?consolidation"),
    ("Pneumonia needs to be ruled out.", "?consolidation"),
    ("Pneumonia is difficult to entirely exclude.", "?consolidation"),
    ("Cannot definitively exclude pneumonia.", "?consolidation"),
    ("This does not rule out pneumonia.", "?consolidation"),
    ("Unable to exclude a small effusion.", "?effusion 1"),
    ("Not possible to exclude a small effusion.", "?effusion 1"),
    ("CT is recommended to exclude a nodule.", "?nodule"),
    ("No effusion, follow up chest CT is recommended to exclude a nodule.", "-effusion", "?nodule"),
    ("No pneumothorax, pneumonia cannot be definitively excluded.", "-pneumothorax", "?consolidation"),
    ("Pneumonia is excluded.", "-consolidation"),
    ("CT excludes pneumothorax.", "-pneumothorax"),
    ("The heart is not enlarged and pneumonia excluded.", "-cardiomegaly", "-consolidation"),
    ("Possible small pneumothorax.", "?pneumothorax 1"),
    ("Probable granuloma.", "?granuloma"),
    ("Effusion is likely.", "?effusion"),
    ("Borderline enlarged heart.", "?cardiomegaly"),
    ("Borderline heart size.", "?cardiomegaly"),
    ("Right base atelectasis versus pneumonia.", "+atelectasis RD", "?consolidation RD"),
    ("Left basilar opacity may represent atelectasis.", "?atelectasis LD"),
    ("Streaky opacities at the left base are likely atelectasis or scarring.", "?atelectasis LD", "?scarring LD"),
    ("Mild interstitial prominence suggestive of edema.", "?edema 1"),
    ("Nodular densities consistent with granulomatous disease.", "+granuloma"),
    ("The left costophrenic angle is blunted, with a moderate left effusion.", "+effusion L2"),
]

STRUCTURES = [
    ("The heart is mildly enlarged.", "+cardiomegaly 1"),
    ("The heart is enlarged.", "+cardiomegaly"),
    ("Cardiac silhouette is normal in size.", "-cardiomegaly"),
    ("Heart size normal.", "-cardiomegaly"),
    ("Heart size is upper limits of normal.", "-cardiomegaly"),
    ("Heart size and pulmonary vascularity appear within normal limits.", "-cardiomegaly", "-congestion"),
    ("The cardiomediastinal silhouette is unremarkable.", "-cardiomegaly", "-mediastinal_widening"),
    ("Heart and mediastinum normal.", "-cardiomegaly", "-mediastinal_widening"),
    (
        "Normal heart size, mediastinal and aortic contours.",
        "-cardiomegaly",
        "-mediastinal_widening",
        "-tortuous_aorta",
    ),
    ("Prominent hila.", "+hilar_enlargement"),
    ("Pulmonary vasculature is engorged.", "+congestion"),
    ("The aorta is calcified and tortuous.", "+atherosclerosis", "+tortuous_aorta"),
    ("Elevated left hemidiaphragm.", "+elevated_diaphragm L"),
    ("Flattening of the diaphragm.", "+hyperinflation"),
    ("The lungs are clear.", "-lung_disease"),
    ("Both lungs are clear and expanded.", "-lung_disease"),
    ("Lungs are mildly hyperexpanded but clear.", "+hyperinflation 1", "-lung_disease"),
    ("The right lung is clear.", "-right_lung_disease"),
    ("The lungs and pleural spaces show no acute abnormality.", "-lung_disease", "-pleural_disease"),
    ("Visualized osseous structures of the thorax are without acute abnormality.", "-bone_disease"),
    ("No acute bony abnormality.", "-bone_disease"),
    ("No acute cardiopulmonary abnormality.", "-acute_disease"),
    ("No active disease.", "-acute_disease"),
    ("Normal chest.", "-any_disease"),
    ("Lung volumes are low.", "+low_volumes"),
    ("Trachea is midline.", "-tracheal_deviation"),
    ("Lungs: clear. Heart: normal. Pleura: no effusion.", "-lung_disease", "-cardiomegaly", "-effusion"),
    ("The heart is normal in size with mild pulmonary edema.", "-cardiomegaly", "+edema 1"),
]

NORMAL_ANATOMY = [
    ("Interstitial markings are normal.", "-interstitial"),
    ("Interstitial markings are within normal limits.", "-interstitial"),
    ("Interstitial markings are not prominent.", "-interstitial"),
    ("Interstitial markings and heart size are normal.", "-interstitial", "-cardiomegaly"),
    ("Heart, lung markings, and mediastinum are normal.", "-cardiomegaly", "-interstitial", "-mediastinal_widening"),
    ("Lung markings are normal.", "-interstitial"),
    ("Normal heart size and lung markings.", "-cardiomegaly", "-interstitial"),
    ("The interstitium is unremarkable.", "-interstitial"),
    ("Bronchovascular markings are normal.", "-interstitial"),
    ("Lymph nodes are normal.", "-lymphadenopathy"),
    ("No enlarged lymph nodes.", "-lymphadenopathy"),
    ("Interstitial markings are prominent.", "+interstitial"),
    ("Interstitial markings are not normal.", "+interstitial"),
    ("Interstitial markings are greater than normal.", "+interstitial"),
    ("Heart normal lung markings increased.", "-cardiomegaly", "+interstitial"),
    ("Coarse interstitial markings and heart is normal.", "+interstitial", "-cardiomegaly"),
    ("Chronic appearing interstitial markings the lungs are clear.", "+interstitial", "-lung_disease"),
    ("The heart is normal and interstitial markings are increased.", "-cardiomegaly", "+interstitial"),
    ("Lymph nodes are enlarged.", "+lymphadenopathy"),
]

UNSAID = [
    ("Evaluation for pneumothorax is limited.",),
    ("Supine examinations are limited for evaluation of pneumoperitoneum.",),
    ("Limited evaluation for pneumothorax, small left effusion.", "+effusion L1"),
    ("Evaluation for effusion, edema, or pneumothorax is limited.",),
    ("Evaluation for effusion and pneumothorax is limited, no consolidation.", "-consolidation"),
    ("Rib fractures would be better assessed with dedicated views.",),
    ("No fracture, rib fractures would be better assessed with dedicated views.", "-fracture"),
    ("Evaluation for pneumothorax is negative.", "-pneumothorax"),
    ("Evaluated for pneumothorax, none seen.", "-pneumothorax"),
    ("Evaluation for pneumothorax is positive.", "+pneumothorax"),
    ("Recommend CT for evaluation of the right upper lobe nodule.", "+nodule RU"),
    ("A small effusion would be better assessed with decubitus views.", "+effusion 1"),
]

ENTITIES = [
    ("Calcified granulomas in the left lung.", "+granuloma L"),
    ("Calcified right hilar lymph node.", "+granuloma R"),
    ("Old healed left rib fractures. No acute fracture.", "+old_fracture L", "-fracture"),
    ("Acute fracture of the right seventh rib.", "+fracture R"),
    ("Pericardial effusion.", "+pericardial_effusion"),
    ("Endotracheal tube tip 4 cm above the carina.", "+et_tube"),
    ("Right PICC with tip in the lower SVC.", "+central_line R"),
    ("Left chest tube in place.", "+chest_tube L"),
    ("Left pacemaker with leads in the right atrium and right ventricle.", "+pacemaker L"),
    ("Nasogastric tube in the stomach.", "+ng_tube"),
    ("Median sternotomy wires are intact.", "+sternotomy"),
    ("Free air under the diaphragm.", "+free_air"),
    ("Hyperinflation consistent with COPD.", "+hyperinflation"),
    ("Biapical pleural thickening.", "+pleural_thickening LRU"),
    ("Bullet fragment over the left chest.", "+foreign_body"),
    ("Degenerative changes of the thoracic spine.", "+degenerative"),
    ("Wedge compression deformity of T12.", "+compression_fracture"),
    ("Collapse of T12 vertebral body.", "+compression_fracture"),
    ("Collapse of T7.", "+compression_fracture"),
    ("The L1 vertebral body has collapsed.", "+compression_fracture"),
    ("No vertebral collapse.", "-compression_fracture"),
    ("Right upper lobe collapse and T12 compression fracture.", "+atelectasis RU", "+compression_fracture"),
    ("Pulmonary vascular redistribution.", "+congestion"),
    ("Right breast implant.", "+mastectomy"),
]

PLACE_AND_SEVERITY = [
    ("Small left pleural effusion and right basilar atelectasis.", "+effusion L1", "+atelectasis RD"),
    ("Moderate right and small left pleural effusions.", "+effusion LR12"),
    ("Bilateral pleural effusions, left greater than right, moderate.", "+effusion LR2"),
    ("Small to moderate left effusion.", "+effusion L12"),
    ("Opacity in the left base and a small right effusion.", "+opacity LD", "+effusion R1"),
    ("Calcified granulomata are present in the right middle lobe and right upper lobe.", "+granuloma RUM"),
    ("In the left midlung zone there is identified a 1.5 cm nodule.", "+nodule LM"),
    ("Vague opacity which appears to be within the left lower lobe.", "+opacity LD"),
    ("Left lower lobe atelectasis/infiltrate.", "+atelectasis LD", "+consolidation LD"),
    ("Lingular atelectasis.", "+atelectasis LM"),
    ("Pleural effusion is moderate.", "+effusion 2"),
    ("Mild lung hyperinflation.", "+hyperinflation 1"),
    ("Mild cardiomegaly and pulmonary edema.", "+cardiomegaly 1", "+edema"),
]


TABLES = [
    NEGATION, OLD_AFTER_A_DENIAL, DEVICES, ONE_SIDE, DOUBT, STRUCTURES, NORMAL_ANATOMY, UNSAID, ENTITIES,
    PLACE_AND_SEVERITY,
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [(row[0], set(row[1:])) for row in sum(TABLES, [])],
)
def test_reads_findings(text, expected):
    assert stated(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Stable cardiomegaly.", {("same", "cardiomegaly")}),
        ("The effusion is unchanged compared to the prior study.", {("same", "effusion")}),
        ("No change in the effusion.", {("same", "effusion")}),
        ("The left effusion has increased since the prior study.", {("worse", "effusion")}),
        ("Worsening pulmonary edema.", {("worse", "edema")}),
        ("Interval improvement of pulmonary edema.", {("better", "edema")}),
        ("New right consolidation.", {("new", "consolidation")}),
        ("The effusion has resolved.", {("resolved", "effusion")}),
        ("Cardiomegaly is again seen.", {("same", "cardiomegaly")}),
        ("Stable cardiomediastinal silhouette.", {("same", "cardiomegaly+mediastinal_widening")}),
        ("Left nodule. This is unchanged from prior.", {("same", "nodule")}),
        ("Interstitial oedema has improved, small effusions persist.", {("better", "edema"), ("same", "effusion")}),
        ("Edema has improved and effusions are unchanged.", {("better", "edema"), ("same", "effusion")}),
        ("Edema and effusion, unchanged from prior.", {("same", "edema+effusion")}),
        ("No pneumothorax after chest tube removal.", {("resolved", "chest_tube")}),
        ("There is stable cardiomegaly without edema.", {("same", "cardiomegaly")}),
        ("No new consolidation.", set()),
        ("Increased interstitial markings.", set()),
        ("Decreased lung volumes.", set()),
        ("Prior granulomatous disease.", set()),
        ("Status post prior CABG.", set()),
    ],
)
def test_reads_comparisons(text, expected):
    assert compared(text) == expected


@pytest.mark.parametrize(
    "twin",
    [
        "NO PLEURAL EFFUSION. SMALL LEFT PNEUMOTHORAX.",
        "No pleural\u00a0effusion.\r\nSmall\tleft   pneumothorax.",
        "No pleu\u200bral effusion.\ufeff Small left pneumo\u00adthorax.",
        "No pleural e\ufb00usion. Small left pneumothorax.",
        "\u202eNo pleural effusion.\u202c Small left pneumothorax. \U0001f600",
        "No pleural effusion. Small left pneumothorax.\ud800",
        "No pleural-effusions.Small left pneumothoraces.",
        "\x00No pleural effusion. Small left\x07 pneumothorax.",
    ],
)
def test_writing_does_not_change_what_is_read(twin):
    assert stated(twin) == {"-effusion", "+pneumothorax L1"}


@pytest.mark.parametrize("text", ["", "   ", "\u200b", "\ud800", "...", "XXXX", "12.5", "no", "no no no, or and", "("])
def test_nothing_stated(text):
    assert stated(text) == set()
