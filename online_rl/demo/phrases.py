"""The demo radiologist's phrases. Small enough a vocabulary for a tiny language model, varied enough to need one.

Slots: {sev} severity, {side}, {Side} capitalised, {place} such as "the left lower lobe", {mm} a diameter.
"""

from __future__ import annotations

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

CHANGE: dict[str, tuple[str, ...]] = {
    "unchanged": (
        ", unchanged compared to the prior study",
        ", unchanged from prior",
        ", stable compared to prior",
        ", stable since the prior study",
    ),
    "increased": (
        ", increased compared to the prior study",
        ", increased from prior",
        ", which has increased since the prior study",
        ", worsened compared to prior",
    ),
    "decreased": (
        ", decreased compared to the prior study",
        ", decreased from prior",
        ", which has decreased since the prior study",
        ", improved compared to prior",
    ),
    "new": (
        ", new compared to the prior study",
        ", new since the prior study",
        ", which is new from prior",
    ),
}
OPENING: dict[str, tuple[str, ...]] = {
    "unchanged": (
        "Compared to the prior study, the {what} is unchanged",
        "Compared to prior, there is no change in the {what}",
    ),
    "increased": (
        "Compared to the prior study, the {what} has increased",
        "Compared to prior, the {what} has worsened",
    ),
    "decreased": (
        "Compared to the prior study, the {what} has decreased",
        "Compared to prior, the {what} has improved",
    ),
}
RESOLVED = ("The {what} seen on the prior study has resolved", "Compared to the prior study, the {what} has resolved")

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

COMPLAINTS = (
    "Cough.", "Chest pain.", "Shortness of breath.", "Fever and cough.", "Dyspnea.", "Preoperative evaluation.",
    "Positive TB test.", "Chest pain and cough.", "Rib pain after fall.", "Weakness.", "Fever.", "Annual examination.",
)  # fmt: skip
HINTS: dict[str, tuple[str, ...]] = {
    "effusion": (
        "Shortness of breath, diminished breath sounds.",
        "Dyspnea and leg swelling.",
        "Evaluate for effusion.",
    ),
    "pneumothorax": (
        "Sudden chest pain.",
        "Chest trauma, evaluate for pneumothorax.",
        "Acute pleuritic pain and dyspnea.",
    ),
    "consolidation": ("Fever and productive cough.", "Evaluate for pneumonia.", "Cough and fever for three days."),
    "edema": ("Shortness of breath, history of heart failure.", "Evaluate for edema.", "Dyspnea, fluid overload."),
    "cardiomegaly": ("History of heart failure.", "Hypertension and dyspnea.", "Leg swelling and fatigue."),
    "atelectasis": ("Postoperative fever.", "Postoperative day two."),
    "nodule": ("Weight loss and smoking history.", "Smoking history, hemoptysis."),
    "endotracheal_tube": ("Intubated, evaluate tube position.", "Respiratory failure, intubated."),
    "central_line": ("Central line placement.",),
    "pacemaker": ("Pacemaker placement, chest pain.",),
    "sternotomy_wires": ("History of coronary bypass surgery.",),
    "nasogastric_tube": ("Nasogastric tube placement.",),
}
FOLLOW_UP: dict[str, tuple[str, ...]] = {
    "unchanged": ("Follow up {what}.", "Routine follow up of {what}.", "Stable symptoms, follow up {what}."),
    "increased": (
        "Worsening dyspnea, follow up {what}.",
        "Increasing oxygen requirement, follow up {what}.",
        "Follow up {what}.",
    ),
    "decreased": ("Follow up {what} after treatment.", "Improving symptoms, follow up {what}.", "Follow up {what}."),
    "new": (
        "New symptoms since the prior study.",
        "Worsening dyspnea since the prior study.",
        "New chest pain, compare with prior.",
    ),
    "resolved": ("Follow up {what} after treatment.", "Symptoms resolved, follow up {what}."),
    "": ("Routine follow up.", "Follow up, compare with prior."),
}
