"""The demo radiologist's phrases. Small enough a vocabulary for a tiny language model, varied enough to need one.

Slots: {sev} severity, {side}, {Side} capitalised, {place} such as "the left lower lobe", {mm} a diameter.
"""

from __future__ import annotations

PLACES = {
    "upper": ("the {side} upper lobe", "the {side} upper lung zone", "the {side} upper lung"),
    "mid": ("the {side} mid lung", "the {side} mid lung zone"),
    "lower": ("the {side} lower lobe", "the {side} lower lung zone", "the {side} lower lung"),
}
TEXTURE = {"mild": ("patchy", "focal"), "moderate": ("focal", "patchy"), "severe": ("dense", "confluent")}
ADVERB = {"mild": "mildly", "moderate": "moderately", "severe": "severely"}

POSITIVE: dict[str, tuple[str, ...]] = {
    "effusion": (
        "There is a {sev} {side} pleural effusion",
        "{Sev} {side} pleural effusion",
        "A {sev} {side} pleural effusion is present",
        "The costophrenic angle is blunted, with a {sev} {side} pleural effusion",
        "A {sev} {side} pleural effusion blunts the costophrenic angle",
        "A {sev} {side} effusion is seen layering at the lung base",
        "Blunting of the {side} costophrenic angle by a {sev} {side} effusion",
        "{Sev} {side} sided pleural effusion is noted",
        "Layering {sev} {side} pleural effusion with a meniscus",
    ),
    "effusion/bilateral": (
        "There are {sev} bilateral pleural effusions",
        "{Sev} bilateral pleural effusions",
        "{Sev} bilateral pleural effusions are present",
        "Both costophrenic angles are blunted by {sev} bilateral pleural effusions",
        "Blunting of both costophrenic angles is consistent with {sev} bilateral pleural effusions",
    ),
    "pneumothorax": (
        "There is a {sev} {side} pneumothorax",
        "{Sev} {side} pneumothorax",
        "A visible pleural line indicates a {sev} {side} pneumothorax",
        "A {sev} {side} apical pneumothorax is seen",
        "{Sev} {side} pneumothorax without mediastinal shift",
        "{Sev} {side} sided pneumothorax is noted",
        "A {sev} {side} pneumothorax outlines the visceral pleura",
    ),
    "consolidation": (
        "There is a {sev} consolidation in {place}",
        "{Sev} {texture} consolidation in {place}",
        "A {sev} {texture} opacity in {place} is concerning for pneumonia",
        "{Sev} airspace opacity in {place}, which may represent pneumonia",
        "{Sev} {texture} opacity is present in {place}",
        "A {sev} consolidation is seen in {place}, suspicious for infection",
        "{Sev} {texture} opacity in {place} may represent pneumonia or aspiration",
        "A {sev} {texture} consolidation is noted in {place}",
        "{Sev} airspace consolidation involves {place}",
    ),
    "edema": (
        "There is {sev} pulmonary edema",
        "{Sev} pulmonary edema",
        "{Sev} pulmonary edema with perihilar haze",
        "Perihilar opacities are consistent with {sev} pulmonary edema",
        "Findings are compatible with {sev} pulmonary edema and vascular congestion",
        "Indistinct vascular markings suggest {sev} pulmonary edema",
        "Bilateral perihilar opacities likely represent {sev} pulmonary edema",
        "Prominent pulmonary vessels and {sev} edema are noted",
    ),
    "cardiomegaly": (
        "There is {sev} cardiomegaly",
        "{Sev} cardiomegaly",
        "{Sev} cardiomegaly is present",
        "The heart is {sevly} enlarged",
        "The cardiac silhouette is {sevly} enlarged",
        "The heart size is {sevly} enlarged",
        "Cardiomegaly is {sev}",
        "{Sev} enlargement of the cardiac silhouette",
    ),
    "atelectasis": (
        "There is linear atelectasis at the {side} lung base",
        "{Side} basilar atelectasis",
        "Linear opacities at the {side} base may represent atelectasis",
        "{Side} lower lobe plate-like atelectasis is present",
        "Streaky opacities at the {side} lung base are likely atelectasis",
        "{Side} basilar linear opacities are suggestive of atelectasis",
        "Discoid atelectasis is noted at the {side} lung base",
    ),
    "atelectasis/bilateral": (
        "There is linear atelectasis at both lung bases, bilateral in distribution",
        "Bilateral basilar atelectasis",
        "Bilateral linear opacities at the bases may represent atelectasis",
        "Streaky bilateral lower lobe opacities are likely atelectasis",
        "Bilateral basilar linear opacities are suggestive of atelectasis",
    ),
    "nodule": (
        "There is a {mm} mm nodule in {place}",
        "A {mm} mm nodule is seen in {place}",
        "{Side} {zone} lung nodule measuring {mm} mm",
        "A round {mm} mm nodule projects over {place}",
        "A solitary well circumscribed {mm} mm nodule is noted in {place}",
        "Nodular density of {mm} mm in {place}, which could represent malignancy",
    ),
    "endotracheal_tube": (
        "An endotracheal tube terminates above the carina",
        "The endotracheal tube is in standard position",
        "Endotracheal tube tip is above the carina",
        "Endotracheal tube projects over the mid trachea",
    ),
    "central_line": (
        "A {side} central venous catheter terminates in the superior vena cava",
        "A {side} internal jugular central venous catheter is in place",
        "{Side} central venous catheter tip is in the superior vena cava",
        "{Side} sided central venous catheter projects over the superior vena cava",
    ),
    "pacemaker": (
        "A {side} chest wall pacemaker is in place",
        "{Side} pacemaker with leads in the right atrium and right ventricle",
        "There is a {side} sided pacemaker with two leads",
        "Dual lead {side} pectoral pacemaker is unremarkable",
    ),
    "sternotomy_wires": (
        "Median sternotomy wires are intact",
        "Sternotomy wires are present",
        "Median sternotomy wires are noted",
        "The patient is status post median sternotomy with intact sternotomy wires",
    ),
    "nasogastric_tube": (
        "A nasogastric tube courses into the stomach",
        "The nasogastric tube tip is in the stomach",
        "Nasogastric tube extends below the diaphragm into the stomach",
        "Nasogastric tube tip projects over the gastric bubble",
    ),
}

HEART_NORMAL = (
    "The cardiomediastinal silhouette is normal",
    "The heart size is normal",
    "The heart is normal in size",
    "Heart size and mediastinal contours are within normal limits",
    "The cardiac silhouette is within normal limits",
    "Normal heart size and mediastinal contours",
    "The heart is not enlarged",
    "Cardiac and mediastinal contours are unremarkable",
    "The cardiothoracic ratio is normal",
)
MEDIASTINUM_NORMAL = (
    "The mediastinal contours are normal",
    "The mediastinum is not widened",
    "The hilar contours are unremarkable",
    "Mediastinal and hilar contours are within normal limits",
)
LUNGS_CLEAR = (
    "The lungs are clear",
    "The lungs are clear bilaterally",
    "Both lungs are well expanded and clear",
    "The lungs are well inflated without focal abnormality",
    "The lungs are clear and well expanded",
    "The lungs are free of focal airspace disease",
    "Lung volumes are normal and the lungs are clear",
    "The lungs are clear of any acute process",
)
NO_CONSOLIDATION = (
    "No focal consolidation",
    "There is no focal consolidation",
    "No focal consolidation is identified",
    "No evidence of pneumonia",
    "There is no focal airspace consolidation to suggest pneumonia",
    "No airspace disease is seen",
    "No lobar consolidation or air bronchograms",
)
NO_EDEMA = (
    "No pulmonary edema",
    "There is no pulmonary edema",
    "The pulmonary vasculature is normal",
    "Pulmonary vascularity is within normal limits",
    "There is no evidence of pulmonary edema",
    "No vascular congestion or interstitial edema",
)
NO_EFFUSION = (
    "No pleural effusion",
    "There is no pleural effusion",
    "No pleural effusion is seen",
    "The costophrenic angles are sharp",
)
NO_PNEUMOTHORAX = (
    "No pneumothorax",
    "There is no pneumothorax",
    "No pneumothorax is seen",
    "There is no evidence of pneumothorax",
)
NO_PLEURA = (
    "No pleural effusion or pneumothorax",
    "There is no pleural effusion or pneumothorax",
    "No pleural effusion or pneumothorax is seen",
    "There is no evidence of pleural effusion or pneumothorax",
    "No pneumothorax or pleural effusion is identified",
)
NO_NODULE = ("No suspicious pulmonary nodule", "There is no suspicious pulmonary nodule or mass")
BONES = (
    "No acute osseous abnormality",
    "The osseous structures are intact",
    "The visualized bony structures are unremarkable",
    "No displaced rib fracture is seen",
    "The bones are unremarkable",
    "No acute bony abnormality is identified",
    "There is no acute osseous abnormality of the visualized thorax",
    "No acute fracture is identified",
    "The ribs and clavicles appear intact",
    "Soft tissues and bones of the chest wall are normal",
)
ABDOMEN = (
    "The upper abdomen is unremarkable",
    "The visualized upper abdomen is unremarkable",
    "No free air below the diaphragm",
    "There is no free air under the diaphragm",
    "The hemidiaphragms are smooth and the stomach bubble is normal",
)
NORMAL = (
    *HEART_NORMAL, *MEDIASTINUM_NORMAL, *LUNGS_CLEAR, *NO_CONSOLIDATION, *NO_EDEMA, *NO_EFFUSION, *NO_PNEUMOTHORAX,
    *NO_PLEURA, *NO_NODULE, *BONES, *ABDOMEN,
)  # fmt: skip

COMPARISONS = (  # what only the policy's habit says: see `habit`
    "No significant change compared to the prior study.",
    "Stable appearance since the prior study.",
    "Findings are unchanged compared to the prior study.",
)

# Why a study is asked for. Few indications hint at a finding, so that a report must be read off the image.
# Slots: {why} a complaint or a hint, {age}, {n} a small number, {unit} days or weeks, {what} an earlier finding.
INDICATION = (
    "{Why}.",
    "{Why}.",
    "{Why} for {n} {unit}.",
    "{Why}, {n} {unit}.",
    "{Why} since {n} {unit} ago.",
    "{age} year old patient with {why}.",
    "{age} year old with {why} for {n} {unit}.",
    "Patient aged {age}, {why}.",
    "{age} years, {why}.",
    "Evaluate {why}.",
    "History of {why}.",
    "Clinical information: {why}.",
)
COMPLAINTS = (
    "cough", "chest pain", "shortness of breath", "fever and cough", "dyspnea", "preoperative evaluation",
    "positive TB test", "chest pain and cough", "rib pain after a fall", "weakness", "fever", "annual examination",
    "dizziness", "back pain", "abdominal pain", "wheezing", "fatigue", "night sweats", "palpitations", "syncope",
    "asthma", "bronchitis", "sore throat", "nausea and vomiting", "shoulder pain", "diabetes", "hypertension",
    "altered mental status", "chills", "chest tightness", "dyspnea on exertion", "a persistent cough",
    "an abnormal examination", "a motor vehicle collision", "headache", "loss of appetite", "elevated white cells",
    "preemployment screening", "tobacco use", "anemia", "renal failure", "hoarseness",
)  # fmt: skip
HINTS: dict[str, tuple[str, ...]] = {
    "effusion": ("diminished breath sounds at the base", "suspected effusion", "dullness to percussion"),
    "pneumothorax": ("sudden chest pain", "chest trauma with possible pneumothorax", "acute pleuritic pain"),
    "consolidation": ("fever and productive cough", "suspected pneumonia", "possible aspiration"),
    "edema": ("fluid overload", "suspected edema", "orthopnea and crackles"),
    "cardiomegaly": ("heart failure", "cardiomyopathy", "leg swelling"),
    "atelectasis": ("postoperative fever", "poor inspiratory effort after surgery", "splinting"),
    "nodule": ("weight loss and smoking", "hemoptysis", "a suspected nodule"),
    "endotracheal_tube": ("intubation", "respiratory failure on a ventilator"),
    "central_line": ("central line placement", "need of vascular access"),
    "pacemaker": ("pacemaker placement", "heart block"),
    "sternotomy_wires": ("coronary bypass surgery", "valve replacement"),
    "nasogastric_tube": ("feeding tube placement", "bowel obstruction"),
}
FOLLOW_UP = (
    "Follow up.",
    "Routine follow up.",
    "Interval follow up after {n} {unit}.",
    "Repeat study after {n} {unit}.",
    "Follow up, {why}.",
    "Follow up of an inpatient aged {age}.",
    "{age} year old for follow up.",
    "Reevaluate, {why}.",
    "Progress after treatment, day {n}.",
    "{Why}, second visit.",
)
# A follow-up may name what an earlier study showed, which may have resolved by now.
FOLLOW_UP_OF = ("Follow up of {what}.", "Follow up of {what} after {n} {unit}.", "{age} year old, known {what}.")
