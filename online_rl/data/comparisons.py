"""Taking comparisons with earlier studies out of a reference report, by rules.

Radiologists write with the prior study beside them; a policy that does not see it learns to invent comparisons from
such references. What can be said without the prior stays: `Stable small left effusion` is a small left effusion. A
sentence that says nothing but a change is dropped, and in doubt as well. `Prior cholecystectomy` and `compared to the
left` are no comparisons.
"""

from __future__ import annotations

import re

from judges.strategies import present

_EXAM = r"(?:stud(?:y|ies)|exam\w*|radiograph\w*|films?|x-?rays?|images?|imaging|cts?|scans?|ones?|reports?)"
_END = r"(?=\s*(?:[.,;:]|$|\b(?:of|from|dated|on|performed|and|there|with)\b))"
_PRIOR = (
    r"(?:(?:the|a|an|any|his|her)\s+)?(?:(?:most\s+recent|immediate(?:ly)?|recent)\s+)?"
    rf"(?:(?:prior|previous|preceding|last|earlier|comparison|outside)s?(?:\s+(?:chest|portable|frontal|ap|pa))*"
    rf"(?:\s+{_EXAM})?"
    rf"|{_EXAM})"
)
_DATED = r"(?:\s+(?:of|from|dated|on|performed)\s+(?:_{2,}|X{3,}|[\d/-]+|the\s+same\s+\w+|earlier|yesterday)[^.,;]*)?"
_AGAINST = (
    r"(?:(?:as\s+)?compared\s+(?:to|with)|in\s+comparison\s+(?:to|with)|similar\s+to|since|from|relative\s+to"
    r"|than\s+on)"
)
_TO_PRIOR = rf"{_AGAINST}\s+(?:{_PRIOR}{_DATED}{_END}|_{{2,}}|X{{3,}}(?=\s*[.,;]|$))"
_LEADING = re.compile(rf"^\s*(?:{_TO_PRIOR})[^.,;]*,\s*", re.IGNORECASE)
_INSIDE = re.compile(rf",?\s*\b{_TO_PRIOR}", re.IGNORECASE)
_ADVERBS = r"(?:(?:grossly|overall|essentially|largely|relatively|otherwise|slightly|mildly|\w*what|\w+ly)\s+)*"
_AUXILIARIES = r"(?:(?:has|have|had)\s+(?:not\s+)?)?(?:(?:is|are|was|were|been|remain(?:s|ed)?|appear(?:s|ed)?)\s+)?"
_PREDICATE = re.compile(
    rf",?\s*\b{_AUXILIARIES}(?:again\s+)?(?:not\s+)?{_ADVERBS}"
    r"(?:stable|unchanged|similar|changed)(?:\s+in\s+(?:size|appearance|position|extent|configuration|contour)"
    r"(?:\s+and\s+\w+)?)?"
    r"\s*(?=[.;]?\s*$)",
    re.IGNORECASE,
)
_WORDS = (
    (re.compile(r"\ban\s+(?=unchanged)", re.I), "a "),
    (re.compile(r"\bre-?demonstrated\b", re.I), "demonstrated"),
    (re.compile(r"\b(?:once\s+)?again\s+", re.I), ""),
    (re.compile(r"\bpreviously\s+(?:seen|noted|described|identified|visuali[sz]ed|demonstrated)\s+", re.I), ""),
    # `stable or larger` says a change alone, and the whole sentence goes.
    (re.compile(r"\b(?:stable|unchanged)(?!\s+or\b)(?:,|\s+and)?\s+(?=[a-z])", re.I), ""),
    (re.compile(r"\b(?:persistent|persisting|new(?:ly)?)(?:,?\s+(?:and|or)|,)?\s+(?=[a-z])", re.I), ""),
    (re.compile(r"\bremains?\s+(?=[a-z])", re.I), "is "),
)
_CHANGE = re.compile(
    r"\binterval(?!\s+follow)|\bunchanged\b|\bstable\b|\bstability\b|\bno\s+longer\b"
    r"|\bno\s+(?:\w+\s+){0,2}changes?\b(?!s?\s+(?:of|in\s+the\s+(?:bones?|spine)))"
    r"|\b(?:has|have|had)\s+(?:\w+\s+){0,2}(?:increased|decreased|improved|worsened|resolved|progressed|enlarged|cleared"
    r"|developed|been\s+(?:removed|extubat\w+|placed|advanced|withdrawn|repositioned))"
    r"|\b(?:improv|worsen|resolv)(?:ed|ing)\b(?!\s+(?:pneumonia\s+)?(?:or|versus))|\bworse(?:ning)?\b|\bimprovement\b"
    r"|\b(?:increas|decreas)(?:ed|ing|e)\s+(?:in\s+)?(?:size|prominence|conspicuity)\b"
    r"|^\s*(?:overall\s+)?appearance\s+of\b|\bincreasing\b|\bextubat\w+\b|\bprior\s+"
    + _EXAM
    + r"|\bprevious\s+(?:chest\s+)?"
    + _EXAM,
    re.IGNORECASE,
)
# Anatomy alone, which "stable" was all that was said of.
_ANATOMY = re.compile(
    r"(?:(?:the|and|of|is|are|right|left|bilateral|superior|cardio-?mediastin\w+|cardiac|heart|mediastin\w+|hila|hilar|silhouettes?"
    r"|contours?|size|shape|appearance|lungs?|aorta|aortic|pulmonary|vascul\w+|chest|osseous|bony|structures?)\W+)+",
    re.IGNORECASE,
)
_ADVICE = re.compile(r"\b(?:recommend\w*|suggest\w*\s+follow|follow-?\s?up|if\s+there\s+is)\b", re.IGNORECASE)
_SENTENCES = re.compile(r"[^.!?\n]*(?:\.(?=\d)[^.!?\n]*)*[.!?]*\s*\n*")


def drop_comparisons(text: str) -> str:
    """The report without comparisons; line ends stay where they are.

    >>> drop_comparisons("Stable small left effusion. The heart is unchanged. No pneumothorax.")
    'Small left effusion. No pneumothorax.'
    """
    return "".join(_sentence(match.group()) for match in _SENTENCES.finditer(text) if match.group()).rstrip()


def _sentence(sentence: str) -> str:
    """What is left of one sentence, with the whitespace behind it; "" if nothing is."""
    body = sentence.rstrip()
    behind = sentence[len(body) :]
    if not body or _ADVICE.search(body):
        return sentence
    said = _INSIDE.sub("", _LEADING.sub("", body))
    if (shorter := _PREDICATE.sub("", said)) != said:  # "X is stable": X is there if it is a finding
        said = f"{shorter.rstrip(' .;')}." if present(shorter) or re.search(r"\b(?:is|are)\b", shorter) else ""
    for word, instead in _WORDS:
        said = word.sub(instead, said)
    if not any(character.isalnum() for character in said) or _CHANGE.search(said):
        return behind if "\n" in behind else ""
    if said == body:
        return sentence
    if _ANATOMY.fullmatch(said):
        return behind if "\n" in behind else ""
    said = " ".join(said.split()).lstrip(" ,;")
    return said[:1].upper() + said[1:] + behind
