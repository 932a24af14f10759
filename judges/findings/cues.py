"""The words around an entity: negation, doubt, side, zone, severity, comparison, and what ends their reach.

The kinds are ConText's (pre- and post-triggers, pseudo-triggers, terminations) with those that GREEN's categories
need besides. Phrases are written as in `judges.findings.entities`.
"""

from __future__ import annotations

import itertools


def _combined(*groups: str) -> str:
    """Every phrase that takes one word of each group."""
    return "|".join(" ".join(words) for words in itertools.product(*(group.split("|") for group in groups)))


NEGATION_BEFORE: dict[str, str] = {
    "absent": "no|without|free of|negative for|absence of|clear of|no evidence of|without evidence of|not|never|none|"
    "nor|neither|no sign of|no definite|no convincing|no radiographic evidence of|denies|lack of|lacks|"
    + _combined("fail|fails|failed", "to", "show|demonstrate|reveal")
    + "|"
    "no finding of|no finding to suggest|no finding suggestive of|no evidence to suggest|no finding suggesting|"
    "no typical finding of|no suspicious|negative|devoid of|rather than|no visible|no visualized|free from|"
    "clear from|exclude|excludes|ruling out|nothing|"
    "argue against|arguing against|evidence against|against|unlikely to represent|unlikely to be|unlikely to reflect|"
    "unlikely to indicate|unlikely due to|not due to|w / o|wo|nil|neg|neg for|negative finding|pertinent negative|"
    "inconsistent with|as opposed to|"
    + _combined(
        "low|little|minimal|small|remote|negligible|doubtful",
        "likelihood|probability|suspicion|chance|possibility|risk|concern|evidence",
        "of|for|that",
    ),
    "resolved": "resolution of|interval resolution of|no longer|removal of|interval removal of|clearing of|"
    "interval clearing of|disappearance of|no residual|extubation|resolution",
}
NEGATION_AFTER: dict[str, str] = {
    "absent": "not seen|not identified|not present|not evident|not visualized|not appreciated|not demonstrated|"
    "not noted|not detected|not apparent|not visible|not observed|not found|not definitely seen|not clearly seen|"
    "absent|ruled out|excluded|unlikely|not suspected|is negative|not definitely identified|not shown|"
    "not convincingly seen|not evident on|cannot be identified|cannot be seen|can not be seen|nor identified|"
    "improbable|very unlikely|not likely",
    "resolved": "resolved|no longer seen|no longer present|no longer visible|no longer identified|no longer evident|"
    "no longer visualized|removed|cleared|disappeared|no longer appreciated|no longer demonstrated|gone|"
    "resolve",
}
UNCERTAIN_BEFORE = (
    "may represent|may be|may reflect|may indicate|may relate to|possible|possibly|probable|probably|likely|"
    "suspected|questionable|question of|c / f|r / o|suggestive of|suggest|suggesting|suspicious for|concerning for|"
    "worrisome for|"
    "could be|could represent|could reflect|might be|might represent|versus|vs|cannot exclude|can not exclude|"
    "cannot rule out|differential includes|consider|presumably|presumed|rule out|concern for|equivocal|apparent|"
    "most likely|suspicion of|potential|perhaps|equivocal for|may suggest|indeterminate|and or|"
    "raises the possibility of|possibility of|difficult to exclude|"
    "would be difficult to exclude|not exclude"
)
UNCERTAIN_AFTER = (
    "cannot be excluded|can not be excluded|cannot be ruled out|can not be ruled out|not excluded|not be excluded|"
    "is possible|are possible|is suspected|is questioned|may be present|might be present|could be present|"
    "not ruled out|is likely|are likely|is probable|should be considered|is not excluded|suspected|"
    "is difficult to exclude|difficult to exclude|is considered|could be considered|is favored"
)
# Name a finding without saying whether it is there, before and after its name: see `judges.findings.unsaid`.
ASKED: dict[str, str] = {
    "before": _combined("evaluation|assessment|evaluate|evaluated|assess|assessed|sensitivity|sensitive", "for")
    + "|"
    + _combined("limited for", "evaluation|assessment", "of"),
    "after": _combined("would|could|may|might", "be better", "assessed|evaluated|characterized|seen"),
}
# Operations: "no pneumothorax after line placement" does not deny the line. See `judges.findings.triggers`.
OPERATIONS = "placement|insertion|implantation|biopsy|surgery|procedure|exchange|repositioning|replacement|removal"
# End the reach of a negation, and of everything else.
TERMINATION = (
    "but|however|although|though|except|except for|aside from|apart from|other than|with the exception of|which|"
    "there is|there are|there has been|there have been|there was|there were|while|whereas|yet|with|secondary to|"
    "due to|because|who|as well as|nevertheless|status post|besides|therefore|there remain|there remains|there s|"
    "they re|w /|s / p|2 / 2|still|in addition|additionally|also|incidentally|instead"
)
SIDES: dict[str, str] = {
    "L": "left|l|lingula|lingular|left sided|leftward|lt|left side|l sided|l side",
    "R": "right|r|r sided|right sided|rightward|rt|right side|r side",
    "LR": "bilateral|bilat|b / l|bilaterally|both|bibasilar|bibasal|biapical|bihilar|both side|either side|bibasally",
}
ZONES: dict[str, str] = {
    "U": "upper lobe|upper lung|upper zone|upper lung zone|apex|apical|apically|lung apex|apices|upper lobes|"
    "biapical|suprahilar|upper lung field|upper field|upper|pulmonary apex",
    "M": "middle lobe|mid lung|midlung|mid lung zone|middle zone|mid zone|midzone|mid|midlung zone|perihilar|lingula|"
    "lingular|middle lung|mid lung field|middle|parahilar|hilar region",
    "D": "lower lobe|lower lung|lower zone|lower lung zone|base|basilar|basal|lung base|bibasilar|bibasal|"
    "lower lung field|lower field|lower|infrahilar|retrocardiac|supradiaphragmatic|bibasally|pulmonary base|"
    "inferior lobe|basally",
}
# A side and a zone in one word.
LOBES: dict[str, str] = {"RU": "rul", "RM": "rml", "RD": "rll", "LU": "lul", "LD": "lll"}
# Places whose "left", "right", "upper" or "lower" is not the finding's.
PLACES = (
    "left atrium|right atrium|left ventricle|right ventricle|left atrial|right atrial|left ventricular|"
    "right ventricular|left upper quadrant|right upper quadrant|upper quadrant|left heart border|right heart border|"
    "lower thoracic|upper thoracic|mid thoracic|mid svc|lower svc|upper svc|superior vena cava|svc|"
    "lower thoracic spine|mid thoracic spine|upper thoracic spine|left brachiocephalic|upper lumbar|lower cervical|"
    "midthoracic|midthoracic spine|lateral view|lateral projection|left breast|right breast|upper extremity|"
    "left axilla|right axilla|left axillary|right axillary|upper mid abdomen|cavoatrial junction|"
    "caval atrial junction|limit of normal|l 1|l 2|l 3|l 4|l 5|upper lumbar spine|lower cervical spine|"
    "left lateral view|"
    "right lateral view|left ventricular configuration|bone density|soft tissue density|low density|metallic density|"
    "fat density|bony density|bone mineral density"
)
# 1 small, 2 moderate, 3 large; a range holds both ends.
SEVERITIES: dict[str, str] = {
    "1": "trace|sm|small|mild|mildly|minimal|minimally|slight|slightly|tiny|subtle|minor|very small|very mild|faint|"
    "little",
    "2": "moderate|mod|moderately|moderate sized",
    "3": "large|lg|severe|severely|marked|markedly|extensive|massive|huge|gross|substantial|advanced|pronounced",
    "12": "small to moderate|mild to moderate|mild moderate|mild mod|sm mod|mild to mod|small to mod|small moderate|"
    "minimal to moderate",
    "23": "moderate to large|mod to large|mod large|mod severe|mod to severe|moderate to severe|moderately severe|"
    "moderate severe|moderate large|moderate to marked",
}
COMPARISONS: dict[str, str] = {
    "same": "stable|unresolved|failed to resolve|fail to resolve|yet to resolve|failed to clear|fail to clear|"
    "yet to clear|not yet cleared|unchanged|not changed|not significantly changed|no change|without change|again|"
    "persistent|"
    "persist|persisting|redemonstrated|redemonstration|remain|constant|no interval change|as before|stably|similar|"
    "not substantially changed|no significant change|no significant interval change|not appreciably changed|"
    "without significant change|without interval change|has not changed|have not changed|not significantly increased|"
    "not increased|not worsened|not enlarged since|no increase|no decrease|no worsening|no improvement|not improved|"
    "not decreased|not significantly improved|not significantly worsened|no progression|unchanging|"
    "no appreciable change|no substantial change|no new change|without significant interval change|re demonstrated|"
    "relatively unchanged|grossly unchanged|essentially unchanged|grossly stable|relatively stable|"
    "similar in appearance|similar to prior|without appreciable change|again noted|again seen|once again|"
    "no notable change|no definite change|no acute change|no acute interval change|no increase in size|no growth",
    "better": "improved|improving|improvement|interval improvement|decreased|decreasing|decrease|interval decrease|"
    "smaller|resolving|interval clearing|partially resolved|partial resolution|lessened|less prominent|diminishing|"
    "regressed|regression|partial clearing|has diminished|have diminished|interval decreased|reduction|clearing|"
    "near complete resolution|nearly completely resolved|decreased in size|smaller in size",
    "worse": "worsened|grown|bigger|worsening|worse|increasing|progressed|progression|progressive|larger|"
    "interval increase|"
    "interval worsening|enlarging|has increased|have increased|interval increased|increased from|increased since|"
    "increased in size|increased compared|increased as compared|increased in the interval|interval enlargement|"
    "deteriorated|deterioration|interval progression|more prominent|larger in size|more extensive|"
    "increased in extent|has enlarged|have enlarged|mildly increased from|slightly increased from|"
    "interval development of increased",
    "new": "new|newly|developed|interval development|interval placement|interval appearance|newly developed|"
    "has developed|have developed|interval insertion|interval performance|newly placed",
    "prior": "compared to prior|compared to previous|compared to the prior|compared to the previous|"
    "compared with prior|compared with previous|compared with the|compared to xxxx|compared with xxxx|comparison|"
    "prior exam|prior study|previous exam|previous study|from prior|from previous|since prior|since previous|"
    "since the prior|since the previous|from the prior|from the previous|prior radiograph|previous radiograph|"
    "prior examination|previous examination|in the interval|interval|interval change|prior film|previous film|"
    "prior chest|previous chest|the prior|the previous|as compared to prior|as compared to previous|"
    "prior chest radiograph|prior chest x ray|prior ct|previous ct|on prior|on previous|comparison study|to prior|"
    "to previous|as on prior|last exam|last study|than before|than previously|than prior|than on prior|"
    "most recent prior|previously|recent exam|recent prior|"
    "since last|from last|previously noted|previously seen|previously described|previously demonstrated",
}
# Absence stated by a phrase of its own.
ABSENT: dict[str, str] = {
    "acute_disease": "nad",
    "any_disease": "normal chest|chest is normal|chest normal|normal chest x ray|normal chest radiograph|"
    "normal study|normal exam|normal examination|normal radiograph|chest is unremarkable|unremarkable chest|"
    "unremarkable examination|unremarkable exam|unremarkable study|chest x ray is normal|chest radiograph is normal|"
    "examination is normal|study is normal|normal chest xray|normal chest film|exam is normal|"
    "normal chest examination",
    "low_volumes": "normally inflated|well aerated|well expanded|normal lung volume|normally expanded|"
    "adequately inflated|well inflated|normally aerated|well ventilated|fully expanded|adequately expanded|"
    "satisfactory inspiration|adequate inspiration|normal inflation|good inspiration|fully inflated|"
    "lung volume are normal",
}
PREDICATES: dict[str, str] = {
    "normal": "normal|wnl|nl|nml|unremarkable|within normal limit|within limit of normal|clear|intact|"
    "upper limit of normal|"
    "upper limit normal|top normal|at the upper limit of normal|within expected limit|normal limit|"
    "unremarkable in appearance|maintained|preserved|not enlarged|not significantly enlarged|clear and expanded|"
    "not dilated|not widened|normally inflated and clear|well expanded and clear|well aerated and clear|"
    "otherwise clear|otherwise normal|expanded and clear|otherwise grossly clear|otherwise unremarkable|patent|"
    "upper normal|high normal|not prominent|not engorged|limit of normal|normal in size|sharp|well defined|midline|"
    "top of normal|upper limit of normal in size|near upper limit of normal|aligned|without abnormality|"
    "not congested|no enlarged|not definitely enlarged|not grossly enlarged|nonenlarged",
    "big": "enlarged|larger than normal|bigger than normal|greater than normal|larger than expected|"
    "greater than expected|bigger than expected|larger than is normal|larger than usual|wider than normal|enlargement|"
    "increased in size|prominent|prominence|fullness|full|widened|widening|dilated|"
    "dilatation|engorged|engorgement|congested|large in size|big|enlarged in size|slightly large|mildly large|"
    "too large|moderately large",
    "borderline": "borderline|borderline in size|borderline enlarged|borderline size|borderline enlargement|"
    "borderline prominent|mild borderline",
    "more": "increased|accentuated|accentuation|redistributed",
    "less": "low|decreased|diminished|reduced|poor|shallow|small volume",
    "raised": "elevated|elevation|raised",
    "flat": "flattened|flattening|flat",
    "calcified": "calcified|calcification|calcific",
    "deviated": "deviated|shifted|deviation",
}
ABNORMALITY: dict[str, str] = {
    "": "abnormality|finding|process|pathology|active disease|acute disease|disease|acute injury|injury|problem|"
    "abnormal finding|acute change|focal abnormality|traumatic injury",
    "lung_disease": "pulmonary abnormality|pulmonary process|pulmonary disease|pulmonary finding|pulmonary pathology|"
    "lung abnormality|lung disease|lung process|pulmonary parenchymal abnormality",
    "acute_disease": "cardiopulmonary disease|cardiopulmonary abnormality|cardiopulmonary process|"
    "cardiopulmonary finding|cardiopulmonary pathology|intrathoracic abnormality|intrathoracic process|"
    "intrathoracic pathology|cardiothoracic abnormality|chest abnormality|thoracic abnormality|disease of the chest|"
    "acute chest disease",
}
VERBS = "is|are|was|were|appear|has|have|had|be|been|show|demonstrate|reveal|remains|appears|measure|project|seem"
PREPOSITIONS = (
    "consistent with|c / w|compatible with|in keeping with|in|at|of|within|over|overlying|along|on|to|from|into|near|"
    "above|"
    "below|involving|throughout|through|by|for|under"
)
ARTICLES = "a|an|the|there|this|these|some|multiple|few|several|scattered"
UNITS = "mm|cm|millimeter|centimeter|millimetre|centimetre"
