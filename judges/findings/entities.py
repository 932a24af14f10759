"""What a chest X-ray report can speak of: entities, the structures they belong to, and what implies what.

Phrases are separated by "|" and compared word by word in the singular (see `judges.findings.tokens`), so that one
entry covers "pleural effusion", "Pleural effusions" and "pleural-effusion". The longest phrase wins.
"""

from __future__ import annotations


def word_set(phrases: str) -> frozenset[str]:
    return frozenset(phrases.split("|"))


# Entities whose side and zone are compared. Of the others neither matters (heart) or is told reliably (spine).
LOCATED = word_set(
    "effusion|pneumothorax|consolidation|opacity|atelectasis|nodule|cavity|granuloma|fracture|"
    "old_fracture|pleural_thickening|scarring|interstitial|blunting|hilar_enlargement|elevated_diaphragm|chest_tube|"
    "central_line|pacemaker|subcutaneous_emphysema|edema|congestion|lymphadenopathy|shoulder_disease"
)

DEVICES = word_set("et_tube|tracheostomy|central_line|pacemaker|ng_tube|chest_tube")

# What is put in or cut out.
OPERATED = DEVICES | word_set("sternotomy|surgical_clips|valve|stent|hardware|mastectomy|resection")

# Entities whose size in mm is compared.
SIZED = word_set("nodule|cavity|granuloma|opacity|consolidation|pneumothorax|bone_lesion|hernia|effusion")

ENTITIES: dict[str, str] = {
    # pleura
    "effusion": "pleural effusion|effusion|eff|pleural eff|pleural fluid|pleural fluid collection|hydrothorax|"
    "hemothorax|haemothorax|"
    "layering fluid|empyema",
    "pneumothorax": "pneumothorax|ptx|pnx|hydropneumothorax|pleural air|pleural air collection",
    "pleural_thickening": "pleural thickening|pleural scar|"
    "apical thickening|biapical thickening|pleural scarring|pleural plaque|"
    "apical cap|apical capping|pleural cap|pleural parenchymal thickening|pleural calcification|"
    "calcified pleural plaque",
    "blunting": "blunting|blunted|obscured costophrenic|obscuration of costophrenic",
    # lungs
    "consolidation": "consolidation|airspace disease|air space disease|airspace opacity|air space opacity|"
    "airspace consolidation|air space consolidation|airspace process|air space process|airspace opacification|"
    "air space opacification|infiltrate|infiltration|pneumonia|pna|consol|bronchopneumonia|pneumonic process|"
    "pneumonic infiltrate|pneumonitis|alveolar opacity|alveolar infiltrate|alveolar consolidation|alveolar disease|"
    "consolidative opacity|consolidative change|consolidative process|air bronchogram|airspace infiltrate|"
    "air space infiltrate|airspace disease process|opacity of pneumonia|pulmonary infiltrate|pulmonary consolidation|"
    "lobar consolidation|airspace|air space shadowing|infectious process|infectious infiltrate|airspace abnormality|"
    "air space abnormality|parenchymal consolidation|lung consolidation|active infiltrate|focal infiltrate|"
    "parenchymal infiltrate",
    "opacity": "opacity|density|opacification|ground glass opacity|ground glass opacification|ground glass|haziness|"
    "patchy density|streaky density|parenchymal density|lung density|increased density|focal density|hazy density|"
    "linear density|bandlike density|vague density|perihilar density|basilar density|pulmonary opacity|"
    "parenchymal opacity|lung opacity|shadowing|parenchymal abnormality|patchy shadowing",
    "atelectasis": "atelectasis|atx|atel|atelectatic change|atelectatic|atelectases|volume loss|loss of volume|"
    "collapse|"
    "collapsed|subsegmental atelectasis|atelectatic opacity|atelectatic density",
    "edema": "edema|oedema|pulmonary edema|pulm edema|interstitial edema|fluid overload|volume overload|heart failure|"
    "chf|"
    "congestive heart failure|cardiac decompensation|congestive failure",
    "congestion": "vascular congestion|pulmonary vascular congestion|pulmonary vascular redistribution|"
    "venous congestion|pulmonary venous congestion|"
    "pulmonary congestion|vascular engorgement|vascular redistribution|cephalization|vascular prominence|"
    "pulmonary vascular prominence|pulmonary vascular engorgement|congestion|venous hypertension|congestive change|"
    "pulmonary venous hypertension|vascular fullness|central vascular prominence|central vascular congestion",
    "interstitial": "interstitial marking|interstitial opacity|interstitial prominence|interstitial disease|"
    "interstitial thickening|interstitial lung disease|interstitial change|interstitial pattern|interstitial process|"
    "interstitial infiltrate|interstitial density|reticular opacity|reticular marking|reticulonodular opacity|"
    "reticular density|reticulation|lung marking|coarse marking|bronchovascular marking|interstitium|"
    "interstitial abnormality|interstitial pneumonitis|interstitial lung marking|prominence of the interstitium|"
    "chronic lung disease|chronic lung change|chronic interstitial change|bronchitic change|septal thickening|"
    "septal line|kerley b line",
    "bronchial_disease": "bronchial wall thickening|peribronchial cuffing|peribronchial thickening|bronchial cuffing|"
    "bronchiectasis|peribronchial wall thickening|airway thickening|bronchial thickening",
    "nodule": "nodule|mass|nodular opacity|nodular density|nodularity|pulmonary lesion|lung lesion|lesion|"
    "parenchymal lesion|tumor|tumour|"
    "neoplasm|malignancy|metastasis|metastatic disease|metastases|lung cancer|carcinoma|mass lesion|rounded opacity|"
    "round opacity|rounded density|nodular lesion|pulmonary nodule|masslike opacity|mass like opacity|"
    "nodular consolidation|nodular focus",
    "cavity": "cavity|cavitary lesion|cavitation|cavitary opacity|cavitary disease|cavitary|pneumatocele|abscess",
    "granuloma": "granuloma|granulomata|calcified granuloma|granulomatous disease|granulomatous change|"
    "granulomatous process|calcified nodule|calcific nodule|calcified lymph node|calcified node|"
    "calcified hilar lymph|calcified mediastinal lymph|calcified lymph|calcified hilar node|"
    "calcified hilar lymph node|calcification|calcified nodular density|calcified density|calcific density|"
    "granulomatous infection|granulomatous calcification|calcified mediastinal lymph node|calcified hilar|"
    "calcified focus|calcified lung nodule|calcified pulmonary nodule|calcified mediastinal node|"
    "granulomatous residual|granulomatous sequela|sequela of granulomatous|calcified adenopathy|"
    "calcified lymphadenopathy",
    "scarring": "scarring|scar|fibrosis|fibrotic change|fibrotic|fibrotic scarring|parenchymal scarring|"
    "fibrotic band|post inflammatory change|pleural parenchymal scarring|fibrocalcific change|fibrotic disease|"
    "fibronodular change|fibronodular scarring|fibronodular thickening",
    "hyperinflation": "hyperinflation|hyperexpansion|hyperexpanded|hyperinflated|hyper expanded|hyper inflated|"
    "emphysema|emphysematous change|emphysematous disease|emphysematous|copd|chronic obstructive pulmonary disease|"
    "obstructive lung disease|increased retrosternal airspace|increased retrosternal air space|bullous disease|bulla|"
    "bullae|bleb|bullous change|bullous emphysema|air trapping|hyperlucent|hyperlucency|overinflation|overexpansion|"
    "chronic obstructive disease|barrel chest|overinflated|hyperaeration|hyperaerated|overexpanded",
    "low_volumes": "low lung volume|low volume|lung volume are low|lung volume is low|hypoinflation|hypoinflated|"
    "hypoventilation|hypoventilatory|hypoventilated|hypoventilatory change|shallow inspiration|poor inspiration|"
    "low inspiratory volume|decreased lung volume|reduced lung volume|underinflation|underinflated|"
    "diminished lung volume|small lung volume|poor inspiratory effort|low inspiratory effort|hypoaeration|"
    "hypoaerated|hypoexpansion|hypoexpanded|lung volume are decreased|lung volume are diminished|"
    "lung volume are reduced|low lung volumes|suboptimal inspiration",
    "crowding": "bronchovascular crowding|vascular crowding|crowding|crowding of the bronchovascular structure",
    # heart, mediastinum, vessels
    "cardiomegaly": "cardiomegaly|enlarged left ventricle|"
    "heart is large|heart size is large|heart appear large|large heart|heart large|"
    "heart remain large|cardiac silhouette is large|heart size large|cardiac enlargement|heart enlargement|"
    "enlargement of the heart|enlargement of the cardiac silhouette|cardiac silhouette enlargement|enlarged heart|"
    "enlarged cardiac silhouette|enlarged cardiomediastinal silhouette|ventricular enlargement|"
    "left ventricular enlargement|cardiomediastinal enlargement|enlargement of the cardiomediastinal silhouette|"
    "ventricular hypertrophy",
    "pericardial_effusion": "pericardial effusion|pericardial fluid",
    "mediastinal_widening": "mediastinal widening|widening of the mediastinum|widened mediastinum|mediastinal mass|"
    "wide mediastinum|mediastinal enlargement|mediastinal prominence|widening of the superior mediastinum",
    "hilar_enlargement": "hilar enlargement|hilar prominence|hilar fullness|hilar mass|enlarged hilum|"
    "prominent hilum|fullness of the hilum|enlargement of the hilum|hilar engorgement|perihilar fullness",
    "lymphadenopathy": "adenopathy|lymph node|lymph|lymphadenopathy|hilar adenopathy|mediastinal adenopathy|"
    "enlarged lymph node|mediastinal lymphadenopathy|hilar lymphadenopathy|nodal enlargement",
    "pulmonary_hypertension": "pulmonary hypertension|pulmonary arterial hypertension|pulmonary arterial enlargement|"
    "pulmonary artery enlargement|enlarged pulmonary artery|prominent pulmonary artery|pulmonary artery prominence|"
    "prominent central pulmonary artery|enlargement of the pulmonary artery",
    "tortuous_aorta": "tortuous|tortuosity|ectatic|ectasia|unfolded|unfolding|uncoiled|uncoiling|tortuous aorta",
    "aortic_aneurysm": "aneurysm|aortic aneurysm|aneurysmal dilatation|aneurysmal dilation|dilated aorta|"
    "aortic dilatation|aortic dissection",
    "atherosclerosis": "atherosclerosis|atherosclerotic change|atherosclerotic disease|atherosclerotic calcification|"
    "atherosclerotic vascular calcification|atherosclerotic|aortic calcification|vascular calcification|"
    "calcification of the aorta|calcification of the aortic arch|calcification of the aortic|arterial calcification|"
    "aortic atherosclerotic calcification|calcification within the aortic|calcific aorta|calcified aorta|"
    "aortic vascular calcification|aortic atherosclerosis|calcification of the aortic knob|aortic arch calcification|"
    "aortic knob calcification|arteriosclerotic change|arteriosclerosis|calcified thoracic aorta|"
    "calcified aortic arch|atheromatous calcification|coronary artery calcification|coronary calcification|"
    "calcification of the thoracic aorta",
    "pneumomediastinum": "pneumomediastinum|mediastinal air|mediastinal emphysema",
    "tracheal_deviation": "tracheal deviation|deviation of the trachea|mediastinal shift|shift of the mediastinum|"
    "shift of the trachea|tracheal shift|deviated trachea|midline shift",
    # bones and soft tissues
    "fracture": "fracture|rib fracture|fx|fractured|acute fracture|displaced fracture",
    "old_fracture": "old fracture|healed fracture|remote fracture|chronic fracture|healing fracture|old rib fracture|"
    "healed rib fracture|remote rib fracture|posttraumatic deformity|post traumatic deformity|rib deformity|"
    "old rib deformity|clavicle deformity|fracture deformity|chronic rib fracture|old trauma|prior fracture",
    "compression_fracture": "compression fracture|compression deformity|vertebral compression|wedge deformity|"
    "wedging|wedge compression|vertebral body height loss|loss of vertebral body height|endplate deformity|"
    "vertebral body compression|wedge compression deformity|wedge fracture|wedge|vertebral compression fracture|"
    "vertebral compression deformity|loss of height|height loss|vertebral body deformity|vertebral deformity|"
    "vertebral fracture|anterior wedging|vertebral body wedging|compressed vertebra",
    "bone_lesion": "bone lesion|lytic lesion|blastic lesion|sclerotic lesion|bony lesion|destructive bony lesion|"
    "osseous lesion|bony destruction|bone destruction|destructive process|lytic bone lesion|osteolytic lesion|"
    "rib lesion|vertebral lesion|skeletal lesion|"
    "bony metastasis",
    "dislocation": "dislocation|subluxation|separation",
    "degenerative": "degenerative change|degenerative disease|degenerative disc disease|degenerative disk disease|"
    "spondylosis|osteophyte|osteophytosis|arthritic change|osteoarthritis|arthritis|degenerative joint disease|"
    "disc space narrowing|disk space narrowing|dish|spurring|degenerative spurring|degenerative|spondylitic change|"
    "degenerative endplate change|hypertrophic change|hypertrophic spurring|arthrosis|arthropathy|"
    "degenerative osteophyte|disc degeneration|bony spurring|spondylotic change|"
    "diffuse idiopathic skeletal hyperostosis|arthritic|hypertrophic osteophyte|discogenic change|"
    "degenerative osteoarthritis|spur|spondylosi",
    "scoliosis": "scoliosis|dextroscoliosis|levoscoliosis|scoliotic curvature|dextrocurvature|levocurvature|"
    "rotoscoliosis|scoliotic|scoliotic deformity|curvature of the spine|curvature of the thoracic spine|"
    "spine curvature|dextro scoliosis|levo scoliosis|dextroconvex curvature|levoconvex curvature|spinal curvature|"
    "dextroscoliotic curvature|curvature",
    "kyphosis": "kyphosis|kyphotic|kyphotic curvature|exaggerated kyphosis|kyphoscoliosis|thoracic kyphosis",
    "osteopenia": "osteopenia|osteopenic|demineralization|demineralized|osteoporosis|osteoporotic|bone loss|"
    "bony demineralization|bone demineralization",
    "subcutaneous_emphysema": "subcutaneous emphysema|subcutaneous air|soft tissue emphysema|subcutaneous gas|"
    "soft tissue air|soft tissue gas",
    "shoulder_disease": "rotator cuff|humeral head elevation|high riding humeral head",
    "pectus": "pectus excavatum|pectus carinatum|pectus deformity|pectus",
    # below and at the diaphragm
    "hernia": "hiatal hernia|hernia|hiatus hernia|diaphragmatic hernia|bochdalek hernia",
    "elevated_diaphragm": "eventration|diaphragmatic eventration|diaphragm eventration|hemidiaphragm eventration|"
    "hemidiaphragm elevation|diaphragmatic elevation|elevation of the hemidiaphragm|elevated hemidiaphragm|"
    "elevation of the diaphragm|raised hemidiaphragm",
    "free_air": "free air|free intraperitoneal air|pneumoperitoneum|subdiaphragmatic air|free subdiaphragmatic air|"
    "air under the diaphragm|free air under the diaphragm|free intraperitoneal air under the diaphragm|"
    "free intra abdominal air|free air beneath the diaphragm|free air below the diaphragm|free subdiaphragmatic gas|"
    "intraperitoneal air|subdiaphragmatic free air|intraperitoneal free air|free gas",
    "dilated_bowel": "dilated bowel|bowel dilatation|bowel obstruction|dilated loop|bowel distention|"
    "gastric distention|ileus",
    # devices and operations
    "et_tube": "endotracheal tube|et tube|ett|tracheal tube|intubated|intubation|endotracheal",
    "tracheostomy": "tracheostomy|tracheostomy tube|tracheostomy cannula|trach",
    "central_line": "central venous catheter|cvc|ij cvc|cvl|picc|picc line|picc catheter|central line|central catheter|"
    "central venous line|port|portacath|port a cath|chest port|mediport|infusion port|jugular catheter|ij catheter|"
    "subclavian catheter|venous catheter|dialysis catheter|swan ganz|swan ganz catheter|catheter|jugular line|"
    "internal jugular catheter|internal jugular line|subclavian line|port catheter|infusaport|power port|"
    "hemodialysis catheter|jugular central venous catheter|internal jugular central venous catheter|ij line|"
    "subclavian central venous catheter|ij central venous catheter|peripherally inserted central catheter|"
    "venous access port|venous access catheter|central venous access catheter|jugular cvl|jugular cvc|"
    "vascular catheter",
    "pacemaker": "pacemaker|icd|aicd|defibrillator|pacer|pacing device|pacing lead|pacer lead|pacemaker lead|"
    "cardiac device|cardioverter defibrillator|pulse generator|pacemaker generator|icd lead|cardiac generator|"
    "implantable cardioverter defibrillator|dual lead pacemaker|dual chamber pacemaker|pacing wire|generator|"
    "cardiac pacer|cardiac pacemaker|single lead pacemaker|loop recorder",
    "ng_tube": "nasogastric tube|ng tube|ngt|enteric tube|feeding tube|dobhoff|dobhoff tube|dobbhoff tube|dobbhoff|"
    "orogastric tube|og tube|gastric tube|nasoenteric tube|nasogastric|orogastric|nasojejunal tube|esophageal tube",
    "chest_tube": "chest tube|thoracostomy tube|pleural drain|pigtail catheter|chest drain|pleural catheter|"
    "pleural tube|tube thoracostomy|intercostal drain|thoracostomy",
    "sternotomy": "sternotomy|sternotomy wire|sternal wire|median sternotomy|median sternotomy wire|"
    "midline sternotomy|midline sternotomy wire|sternal suture|cabg|coronary artery bypass|bypass graft|"
    "coronary bypass|coronary artery bypass graft|prior cabg|status post cabg|sternotomy suture|"
    "sternotomy wire and cabg",
    "surgical_clips": "surgical clip|clip|surgical suture|suture|staple|staple line|suture line|surgical staple|"
    "suture material|suture anchor",
    "valve": "aortic valve prosthesis|mitral valve prosthesis|aortic valve replacement|mitral valve replacement|"
    "prosthetic valve|valve replacement|mitral valve|aortic valve|valve prosthesis|prosthetic heart valve|"
    "prosthetic cardiac valve|cardiac valve|heart valve",
    "stent": "stent|coronary stent|coronary artery stent|vascular stent|tips",
    "hardware": "spinal fusion|orthopedic hardware|fusion hardware|hardware|fixation hardware|fixation|screw|"
    "spinal hardware|fixation rod|spinal rod|harrington rod|cervical fusion|fusion|arthroplasty|vertebroplasty|"
    "prosthesis|cervical spinal fusion|spine fusion|internal fixation",
    "mastectomy": "mastectomy|lumpectomy|breast implant|left breast implant|right breast implant",
    "resection": "lobectomy|pneumonectomy|wedge resection|thoracotomy|postsurgical change|post surgical change|"
    "postoperative change|post operative change",
    "foreign_body": "bullet|bullet fragment|shrapnel|foreign body|metallic fragment|metallic foreign body|"
    "radiopaque foreign body|ballistic fragment",
}

# Anatomical structures: with a predicate they state a finding ("heart" + "enlarged"; "lungs" + "clear").
STRUCTURES: dict[str, str] = {
    "heart": "heart|hrt|hrt size|heart size|cardiac|cardiac silhouette|cardiac contour|cardiac size|heart silhouette|"
    "heart contour|cardiac shadow|cardiac silhouette size|heart shadow|size of the heart|cardiothoracic ratio|"
    "cardiac border|heart border|size of the cardiac silhouette|cardiopericardial silhouette",
    "cardiomediastinum": "cardiomediastinal silhouette|cardio mediastinal silhouette|cardiomediastinal contour|"
    "cardiomediastinal|cardio mediastinal|cardio mediastinal contour|cardiomediastinal size|"
    "cardiac mediastinal silhouette|cardiac mediastinal contour|cardiac mediastinal|cardiomediastinum",
    "mediastinum": "mediastinum|mediastinal contour|mediastinal silhouette|mediastinal|mediastinal structure|"
    "upper mediastinum|superior mediastinum|mediastinal border|mediastinal width",
    "hilum": "hilum|hila|hilar|hilar contour|hilar structure|hilar silhouette|hilar shadow",
    "vasculature": "pulmonary vasculature|pulmonary vascularity|vascularity|vasculature|pulmonary vessel|vascular|"
    "lung vascularity|pulmonary vascular|pulmonary vascular marking|vascular marking|pulmonary vascular pattern|"
    "pulmonary vascular markings|central vasculature|central pulmonary vasculature|pulmonary blood flow|"
    "pulmonary artery",
    "lungs": "lung|lung field|lung parenchyma|pulmonary parenchyma|parenchyma|lung zone|aerated lung|"
    "lung and pulmonary parenchyma|pulmonary field|hemithorax",
    "pleura": "pleura|pleural space|pleural surface|pleural|pleural cavity|pleural margin",
    "costophrenic": "costophrenic angle|costophrenic sulcus|costophrenic|cp angle|costophrenic recess|"
    "lateral costophrenic",
    "bones": "bony structure|osseous structure|bone|bony|osseous|osseus|skeletal structure|rib|clavicle|bony thorax|"
    "skeleton|skeletal|bony skeleton|osseous thorax|bony thoracic structure|bony cage|rib cage|thoracic cage|"
    "bony elements|osseous element|thoracic skeleton|bony framework|osseous skeleton|bone structure|chest wall|"
    "osseus structure",
    "spine": "thoracic spine|spine|vertebral body|thoracolumbar spine|vertebra|t spine|lumbar spine|cervical spine|"
    "thoracic vertebra|thoracic vertebral body|spinal",
    "aorta": "aorta|aortic|aortic knob|aortic arch|aortic contour|thoracic aorta|descending aorta|arch|"
    "aortic silhouette|descending thoracic aorta|ascending aorta|transverse aorta",
    "coronary": "coronary artery|coronary",
    "trachea": "trachea|airway|central airway|tracheal|tracheobronchial|tracheal air column",
    "diaphragm": "diaphragm|hemidiaphragm|diaphragmatic|diaphragmatic contour|diaphragm contour",
    "soft_tissue": "soft tissue|soft tissue structure",
    "abdomen": "upper abdomen|abdomen|bowel gas|bowel gas pattern|visualized abdomen|abdominal|upper abdominal",
    "cardiopulmonary": "cardiopulmonary|cardiothoracic|intrathoracic|intra thoracic|cardiac or pulmonary|"
    "cardiac and pulmonary|heart and lung",
    "volumes": "lung volume|inspiratory volume|inflation|aeration|inspiration|inspiratory effort",
}

# What "normal" (clear, unremarkable, intact, no acute abnormality) of a structure states to be absent. A key that
# ends in "_disease" is a statement of its own and implies those of IMPLIES.
NORMAL_MEANS: dict[str, tuple[str, ...]] = {
    "heart": ("cardiomegaly",),
    "cardiomediastinum": ("cardiomegaly", "mediastinal_widening"),
    "mediastinum": ("mediastinal_widening",),
    "hilum": ("hilar_enlargement",),
    "vasculature": ("congestion",),
    "lungs": ("lung_disease",),
    "pleura": ("pleural_disease",),
    "costophrenic": ("blunting",),
    "bones": ("bone_disease",),
    "spine": ("spine_disease",),
    "aorta": ("tortuous_aorta",),
    "trachea": ("tracheal_deviation",),
    "diaphragm": ("elevated_diaphragm",),
    "soft_tissue": ("soft_tissue_disease",),
    "abdomen": ("abdominal_disease",),
    "cardiopulmonary": ("acute_disease",),
    "volumes": ("low_volumes",),
}

# What "enlarged" (prominent, widened, engorged), "elevated", "flattened" or "calcified" of a structure states.
PREDICATE_MEANS: dict[tuple[str, str], str] = {
    ("big", "heart"): "cardiomegaly",
    ("big", "cardiomediastinum"): "cardiomegaly",
    ("big", "mediastinum"): "mediastinal_widening",
    ("big", "hilum"): "hilar_enlargement",
    ("big", "vasculature"): "congestion",
    ("big", "aorta"): "tortuous_aorta",
    ("more", "vasculature"): "congestion",
    ("less", "volumes"): "low_volumes",
    ("raised", "diaphragm"): "elevated_diaphragm",
    ("flat", "diaphragm"): "hyperinflation",
    ("calcified", "aorta"): "atherosclerosis",
    ("calcified", "vasculature"): "atherosclerosis",
    ("calcified", "coronary"): "atherosclerosis",
    ("borderline", "heart"): "cardiomegaly",
    ("borderline", "cardiomediastinum"): "cardiomegaly",
    ("calcified", "hilum"): "granuloma",
    ("calcified", "mediastinum"): "granuloma",
    ("deviated", "trachea"): "tracheal_deviation",
    ("deviated", "mediastinum"): "tracheal_deviation",
}

IMPLIES: dict[str, frozenset[str]] = {
    "lung_disease": frozenset({"consolidation", "opacity", "edema", "nodule", "atelectasis", "interstitial", "cavity"}),
    "pleural_disease": frozenset({"effusion", "pneumothorax", "pleural_thickening", "blunting"}),
    "bone_disease": frozenset({"fracture", "bone_lesion"}),
    "spine_disease": frozenset({"compression_fracture"}),
    "abdominal_disease": frozenset({"free_air"}),
    "soft_tissue_disease": frozenset({"subcutaneous_emphysema"}),
    "acute_disease": frozenset({"consolidation", "opacity", "edema", "congestion", "effusion", "pneumothorax"}),
    "any_disease": word_set(
        "consolidation|opacity|edema|congestion|effusion|pneumothorax|nodule|atelectasis|"
        "interstitial|cavity|cardiomegaly|mediastinal_widening|hilar_enlargement|fracture|pleural_thickening|"
        "lung_disease|pleural_disease|acute_disease|bone_disease"
    ),
    # Absence of the wider term rules out the narrower one.
    "opacity": frozenset({"consolidation"}),
    "congestion": frozenset({"edema"}),
}

# Where one report uses the wider word and the other the narrower one, the finding is the same.
SAME_FINDING = (("opacity", "consolidation"), ("congestion", "edema"))

# What is only seen, until the same sentence says what it is: "left basal opacity, likely atelectasis" is atelectasis.
SIGNS = frozenset({"opacity", "interstitial", "nodule", "blunting"})

# An entity becomes another when one of these words stands in the four words before it.
REFINED_BY: dict[str, tuple[frozenset[str], str]] = {
    "fracture": (word_set("old|healed|remote|chronic|healing|prior|posttraumatic"), "old_fracture"),
    "nodule": (word_set("calcified|calcific|granulomatous"), "granuloma"),
    "effusion": (frozenset({"pericardial"}), "pericardial_effusion"),
    "lymphadenopathy": (frozenset({"calcified", "calcific"}), "granuloma"),
}
