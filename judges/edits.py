"""Single edits of a report whose truth is known by construction: what each does, and in which category it belongs.

A judge must score a report with one harmful edit below the report itself, and one with a harmless edit the same. The
word lists here are the edits' own; they share nothing with the findings judge's lexicon or parser.
"""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Callable

# finding -> everything that reports call it, so that "occurs once" means the finding and not the word
TERMS = {
    "pleural effusion": r"(?:pleural )?effusions?|pleural fluid|costophrenic[^.]*?blunt\w*|blunt\w*[^.]*?costophrenic",
    "pneumothorax": r"pneumothora\w+",
    "consolidation": r"consolidati\w+|air ?space|infiltrat\w+|pneumonia|opacit\w+|opacification|alveolar|densit\w+",
    "atelectasis": r"atelecta\w+|volume loss|collapse\w*",
    "pulmonary edema": r"edema|congesti\w+|heart failure|chf|fluid overload|engorge\w+|vascular prominence",
    "cardiomegaly": r"cardiomegaly|enlarge\w*|borderline",
    "nodule": r"nodul\w+|mass(?:es)?|lesions?",
    "granuloma": r"granulom\w+|calcifi\w+|calcific",
    "rib fracture": r"fractur\w+|deformit\w+",
    "hiatal hernia": r"hernia",
    "scoliosis": r"scolio\w+|dextro\w+|levo\w+|curvature",
    "emphysema": r"emphysem\w+|copd|hyperinflat\w+|hyperexpan\w+|hyper\w+|bull\w+|obstructive|flatten\w+|retrosternal",
    "scarring": r"scar\w*|fibro\w+",
    "hemidiaphragm elevation": r"elevat\w+|eventration",
}
PATTERNS = {term: re.compile(rf"\b(?:{words})\b", re.I) for term, words in TERMS.items()}
SIDED = ("pleural effusion", "pneumothorax", "consolidation", "atelectasis", "nodule", "granuloma", "rib fracture",
         "scarring", "hemidiaphragm elevation")  # fmt: skip
NEGATED = re.compile(
    r"\b(?:no|not|without|free|negative|clear|resolved|removed|removal|resolution|absent|rather)\b", re.I
)
DOUBT = re.compile(r"\b(?:may|possib\w+|probab\w+|could|versus|vs|question\w*|suspic\w+|exclude\w*|suggest\w*|likely|"
                   r"or|concern\w*|represent\w*|either|consistent|compatible)\b", re.I)  # fmt: skip
COMPARED = re.compile(
    r"\b(?:stable|unchanged|chang\w+|again|prior|previous\w*|compar\w+|interval|new|newly|since|increas\w+|decreas\w+|"
    r"improv\w+|worse\w*|persist\w*|remain\w*|redemonstrat\w+|similar|develop\w+|resol\w+|progress\w+|larger|smaller|"
    r"recent|former\w*|old|last|still|less|more|prominent|diminish\w+|enlarging|stably|clearing)\b",
    re.I,
)
SWAPPED_SEVERITY = {"small": "large", "mild": "severe", "mildly": "severely", "minimal": "marked", "trace": "large",
                    "moderate": "minimal", "large": "small", "severe": "mild", "severely": "mildly", "tiny": "large",
                    "marked": "mild", "markedly": "mildly", "slight": "marked", "moderately": "minimally"}  # fmt: skip
SEVERITY = re.compile(rf"\b(?:{'|'.join(SWAPPED_SEVERITY)})\b", re.I)
ADDED = {
    "pleural effusion": "There is a moderate right pleural effusion.",
    "pneumothorax": "Small left apical pneumothorax.",
    "consolidation": "There is consolidation in the right lower lobe.",
    "atelectasis": "Mild bibasilar atelectasis is noted.",
    "pulmonary edema": "Mild pulmonary edema.",
    "cardiomegaly": "The heart is moderately enlarged.",
    "nodule": "A 9 mm nodule projects over the left upper lobe.",
    "rib fracture": "There is an acute fracture of the right seventh rib.",
    "hiatal hernia": "Large hiatal hernia.",
    "scoliosis": "There is scoliosis of the thoracic spine.",
    "emphysema": "The lungs are hyperinflated, consistent with emphysema.",
    "scarring": "Linear scarring in the left upper lobe.",
}
SYNONYMS = [
    (r"\bpleural effusion\b", "pleural fluid"),
    (r"\bcardiomegaly\b", "enlargement of the cardiac silhouette"),
    (r"\bheart size is normal\b", "the heart is normal in size"),
    (r"\bheart size normal\b", "the heart is not enlarged"),
    (r"\bnormal heart size(?=\.)", "the heart size is within normal limits"),
    (r"\bwithin normal limits\b", "normal"),
    (r"\bunremarkable\b", "normal"),
    (r"\bthe lungs are clear(?=\.)", "clear lungs"),
    (r"\bfocal airspace disease\b", "airspace consolidation"),
    (r"\bairspace opacit(?:y|ies)\b", "airspace disease"),
    (r"\bthere is no\b", "no evidence of"),
    (r"\bno evidence of\b", "there is no"),
    (r"\bnegative for\b", "no"),
    (r"\bhyperexpanded\b", "hyperinflated"),
    (r"\btortuosity of the (?:thoracic )?aorta\b", "tortuous aorta"),
    (r"\bbibasilar\b", "bilateral basilar"),
    (r"\bseen\b", "identified"),
    (r"\bbony\b", "osseous"),
    (r"\bsmall\b(?! to)", "tiny"),
    (r"\bsevere\b", "marked"),
    (r"\bunchanged\b", "stable"),
    (r"\bdegenerative changes of\b", "spondylosis of"),
    (r"\bpulmonary vasculature\b", "pulmonary vascularity"),
    (r"\binfiltrates?\b", "consolidation"),
    (r"\bpicc\b", "PICC line"),
    (r"\bhiatal hernia\b", "hiatus hernia"),
    (r"\bscarring\b", "scar"),
]

Sentences = list[str]
Edit = Callable[[Sentences, random.Random], Sentences | None]


def split(report: str) -> Sentences:
    return [s.strip() for s in re.split(r"(?<=[.!?])\s+(?=\S)", report) if re.search(r"\w", s)]


def terms_in(text: str) -> list[str]:
    return [term for term, pattern in PATTERNS.items() if pattern.search(text)]


def positive(sentences: Sentences) -> list[tuple[int, str]]:
    """(index, finding) of plain positive sentences with one finding that no other sentence speaks of."""
    plain = []
    for i, sentence in enumerate(sentences):
        found = terms_in(sentence)
        if len(found) != 1 or NEGATED.search(sentence) or DOUBT.search(sentence) or COMPARED.search(sentence):
            continue
        following = sentences[i + 1] if i + 1 < len(sentences) else ""
        if re.match(r"(?:this|these|it|they|findings?|the appearance)\b", following, re.I):
            continue  # the next sentence speaks of this one
        if not any(PATTERNS[found[0]].search(s) for j, s in enumerate(sentences) if j != i):
            plain.append((i, found[0]))
    return plain


def replaced(sentences: Sentences, i: int, new: str | None) -> Sentences:
    return sentences[:i] + ([new] if new else []) + sentences[i + 1 :]


def absent_to_present(sentences: Sentences, rng: random.Random) -> Sentences | None:
    """ "No pleural effusion or pneumothorax." -> "There is pleural effusion. No pneumothorax." """
    choices = []
    for i, sentence in enumerate(sentences):
        match = re.fullmatch(
            r"(?:there (?:is|are) )?no (?:evidence of )?(?:focal |acute |definite |large )*"
            r"([\w ]+?)(?:,? or ([\w ]+?))?(?: (?:is|are) (?:seen|identified|noted))?\.",
            sentence,
            re.I,
        )
        if match is None or COMPARED.search(sentence):
            continue
        first, second = match.groups()
        found = terms_in(first)
        if len(found) != 1 or (second and PATTERNS[found[0]].search(second)):
            continue
        if not any(PATTERNS[found[0]].search(s) and not NEGATED.search(s) for s in sentences):
            choices.append((i, first, second))
    if not choices:
        return None
    i, first, second = rng.choice(choices)
    return replaced(sentences, i, f"There is {first}." + (f" No {second}." if second else ""))


def present_to_absent(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = positive(sentences)
    if not choices:
        return None
    i, term = rng.choice(choices)
    match = PATTERNS[term].search(sentences[i])
    assert match is not None
    named = "cardiomegaly" if term == "cardiomegaly" else "emphysema" if term == "emphysema" else match.group(0)
    if term in ("hemidiaphragm elevation", "granuloma", "rib fracture"):
        named = term
    return replaced(sentences, i, f"No {named}.")


def side_swapped(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = []
    for i, term in positive(sentences):
        sides = re.findall(r"\b(left|right)\b", sentences[i], re.I)
        both = re.search(r"\b(?:bilateral\w*|both|bi\w+)\b", sentences[i], re.I)
        device = re.search(
            r"\b(?:atri\w+|ventric\w+|clip\w*|catheter|spine|quadrant|breast|shoulder)\b", sentences[i], re.I
        )
        if term in SIDED and len(sides) == 1 and not both and not device:
            choices.append(i)
    if not choices:
        return None
    i = rng.choice(choices)
    swap = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}
    return replaced(sentences, i, re.sub(r"\b(left|right)\b", lambda m: swap[m[0]], sentences[i], flags=re.I))


def severity_changed(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = [i for i, _ in positive(sentences) if len(SEVERITY.findall(sentences[i])) == 1]
    choices = [i for i in choices if not re.search(r"\b(?:to|sized|degenerative|spine)\b", sentences[i], re.I)]
    if not choices:
        return None
    i = rng.choice(choices)
    return replaced(sentences, i, SEVERITY.sub(lambda m: SWAPPED_SEVERITY[m[0].lower()], sentences[i]))


def finding_removed(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = positive(sentences)
    return replaced(sentences, rng.choice(choices)[0], None) if choices and len(sentences) > 1 else None


def finding_added(sentences: Sentences, rng: random.Random) -> Sentences | None:
    free = [t for t in ADDED if not any(PATTERNS[t].search(s) and not NEGATED.search(s) for s in sentences)]
    if not free:
        return None
    at = rng.randrange(len(sentences) + 1)
    if at < len(sentences) and re.match(r"(?:this|these|it|they)\b", sentences[at], re.I):
        at = len(sentences)
    return sentences[:at] + [ADDED[rng.choice(free)]] + sentences[at:]


def comparison_added(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = positive(sentences)
    if not choices or any(COMPARED.search(s) for s in sentences):
        return None
    i, _ = rng.choice(choices)
    tail = rng.choice([", unchanged from the prior examination.", ", stable compared with the prior study.",
                       ", which has worsened since the previous radiograph.", ". This has improved."])  # fmt: skip
    return replaced(sentences, i, sentences[i].rstrip(". ") + tail)


def comparison_omitted(sentences: Sentences, rng: random.Random) -> Sentences | None:
    choices = []
    for i, sentence in enumerate(sentences):
        compared = COMPARED.findall(sentence)
        if len(compared) != 1 or compared[0].lower() not in ("stable", "unchanged") or NEGATED.search(sentence):
            continue
        if re.search(r"\b(?:stable|unchanged) (?=\w)(?!in\b|from\b|since\b|and\b|with\b|when\b|as\b)", sentence, re.I):
            without = re.sub(r"\b(?:stable|unchanged) ", "", sentence, flags=re.I)
            if terms_in(without) or re.search(r"enlarged|tortuous|degenerative|normal", without, re.I):
                choices.append((i, without))
    if not choices:
        return None
    i, without = rng.choice(choices)
    return replaced(sentences, i, without)


def reordered(sentences: Sentences, rng: random.Random) -> Sentences | None:
    blocks: list[Sentences] = []
    for sentence in sentences:  # "These are unchanged." stays behind its sentence
        follows = re.match(
            r"(?:this|these|it|they|findings?|the appearance|appearance|there has|both)\b", sentence, re.I
        )
        speaks_on = COMPARED.search(sentence) and not terms_in(sentence)
        if blocks and (follows or speaks_on or not blocks[-1][-1].endswith((".", "!", "?"))):
            blocks[-1].append(sentence)
        else:
            blocks.append([sentence])
    if len(blocks) < 2:
        return None
    rng.shuffle(blocks)
    return [
        sentence if sentence.endswith((".", "!", "?")) else sentence + "." for block in blocks for sentence in block
    ]


def synonyms(sentences: Sentences, rng: random.Random) -> Sentences | None:
    text = " ".join(sentences)
    usable = [(p, new) for p, new in SYNONYMS if re.search(p, text, re.I)]
    if not usable:
        return None
    pattern, new = rng.choice(usable)
    return split(re.sub(pattern, new, text, flags=re.I))


def case(sentences: Sentences, rng: random.Random) -> Sentences | None:
    change = rng.choice([str.upper, str.lower, str.title])
    return [change(sentence) for sentence in sentences]


def spacing(sentences: Sentences, rng: random.Random) -> Sentences | None:
    space = rng.choice(["  ", "\n", "\u00a0", " \u200b", "\r\n", "\t"])
    return [sentence.replace(" ", space) for sentence in sentences]


def named(sentences: Sentences, choices: list[tuple[int, str]], rng: random.Random) -> tuple[int, str, str]:
    """(index, finding, the name by which a key calls it) of one of the choices."""
    i, term = rng.choice(choices)
    match = PATTERNS[term].search(sentences[i])
    assert match is not None
    fixed = {"cardiomegaly": "cardiomegaly", "emphysema": "emphysema", "hemidiaphragm elevation": term,
             "granuloma": term, "rib fracture": term}  # fmt: skip
    return i, term, fixed.get(term, match.group(0))


def listed(sentences: Sentences) -> Sentences:
    return ["\n".join(f"- {sentence.rstrip('. ')}" for sentence in sentences)]


def list_with_an_addition(sentences: Sentences, rng: random.Random) -> Sentences | None:
    """The report as a list, and one finding more among its items."""
    edited = finding_added(sentences, rng)
    return listed(edited) if edited else None


def list_without_a_finding(sentences: Sentences, rng: random.Random) -> Sentences | None:
    edited = finding_removed(sentences, rng)
    return listed(edited) if edited else None


def key_denied(sentences: Sentences, rng: random.Random) -> Sentences | None:
    """ "Small left effusion." -> "Effusion: None." """
    choices = positive(sentences)
    if not choices:
        return None
    i, _, name = named(sentences, choices, rng)
    return replaced(sentences, i, f"{name.capitalize()}{rng.choice([': None', ' - No', ': Negative', ': not seen'])}.")


def key_stated(sentences: Sentences, rng: random.Random) -> Sentences | None:
    """A key that states a finding which the report has not."""
    free = [t for t in ADDED if not any(PATTERNS[t].search(s) for s in sentences)]
    if not free:
        return None
    return [*sentences, f"{rng.choice(free).capitalize()}: {rng.choice(['present', 'yes', 'mild', 'seen'])}."]


def said_not_resolved(sentences: Sentences, rng: random.Random) -> Sentences | None:
    """A finding that the report has not, in words that deny its going away."""
    free = [t for t in ADDED if not any(PATTERNS[t].search(s) for s in sentences)]
    if not free:
        return None
    form = rng.choice(["The {} has not resolved.", "The {} has only partially cleared.", "Unresolved {}.",
                       "No resolution of the {}.", "The {} has nearly resolved."])  # fmt: skip
    return [*sentences, form.format(rng.choice(free))]


# (reference, candidate): one of two instances changed its size or its side
TWO = [
    ("Moderate right, small left {}.", "Small right, moderate left {}.", "wrong_severity"),
    ("Large left and small right {}.", "Large left and moderate right {}.", "wrong_severity"),
    ("Small right {0}. Large left {0}.", "Large right {0}. Small left {0}.", "wrong_severity"),
    ("Right upper lobe {0}. Left lower lobe {0}.", "Left upper lobe {0}. Right lower lobe {0}.", "wrong_location"),
]


HARMFUL: dict[str, tuple[Edit, str]] = {
    "negation flipped: absent to present": (absent_to_present, "false_finding"),
    "negation flipped: present to absent": (present_to_absent, "missing_finding"),
    "side swapped": (side_swapped, "wrong_location"),
    "severity changed": (severity_changed, "wrong_severity"),
    "finding removed": (finding_removed, "missing_finding"),
    "finding added": (finding_added, "false_finding"),
    "comparison added": (comparison_added, "false_comparison"),
    "comparison omitted": (comparison_omitted, "omitted_comparison"),
    "as a list, finding added": (list_with_an_addition, "false_finding"),
    "as a list, finding removed": (list_without_a_finding, "missing_finding"),
    "key and value: denied": (key_denied, "missing_finding"),
    "key and value: stated": (key_stated, "false_finding"),
    "polarity: has not resolved": (said_not_resolved, "false_finding"),
}
HARMLESS: dict[str, Edit] = {"sentences reordered": reordered, "synonyms": synonyms, "case": case, "spacing": spacing}


def as_list(sentences: Sentences, rng: random.Random) -> Sentences | None:
    return listed(sentences)


def numbered(sentences: Sentences, rng: random.Random) -> Sentences | None:
    return ["\n".join(f"{i}. {sentence}" for i, sentence in enumerate(sentences, 1))]


def as_table(sentences: Sentences, rng: random.Random) -> Sentences | None:
    return ["\n".join(f"| Findings | {sentence.rstrip('. ')} |" for sentence in sentences)]


def wrapped(sentences: Sentences, rng: random.Random) -> Sentences | None:
    return ["\n".join(textwrap.wrap(" ".join(sentences), 70))]


LAYOUTS: dict[str, Edit] = {"list": as_list, "numbers": numbered, "table": as_table, "wrapped at 70": wrapped}
