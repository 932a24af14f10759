"""Take from a candidate report what could speak as the judge or as the user, before the prompt is built around it.

GREEN pastes the candidate into its prompt without a fence. A policy that is paid by the judge can learn to write
`[Matched Findings]: 9.` itself, to close the user's turn, or to open another. None of this belongs in a report.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import NamedTuple

_GAP = r"[\s_*\"'`.-]*"  # what may be put between two words of a phrase to disguise it


def _phrase(words: str) -> str:
    return _GAP.join(words.split())


_LABELS = (
    "false report of a finding in the candidate",
    "missing a finding present in the reference",
    "misidentification of a finding s anatomic location",
    "misassessment of the severity of a finding",
    "mentioning a comparison that isn t in the reference",
    "omitting a comparison detailing a change from a prior study",
)
_HEADERS = ("clinically significant errors", "clinically insignificant errors", "matched findings")
_HEADINGS = ("reporting your assessment", "criteria for judgment", "process overview", "follow this specific format")
_MARK = r"(?:\(?\s*[a-f1-6]\s*\)\s*)"
_NUMBER = r"(?:\b[1-4]\s*[.)]\s*)?"


def _any(phrases: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(map(_phrase, phrases))})"


# Everything is matched on a folded copy of the text (`_fold`): lower case, no accents, no invisible marks, plain
# letters and brackets. Two runs of blanks never stand side by side without something between them, so that a page of
# blanks costs no more than a page.
_PATTERNS = (
    # chat markers of LLaMA, of GREEN's template and of others
    r"<\s*\|[^|<>\n]{0,40}\|\s*>|<\s*(?:/\s*)?(?:s|unk|pad|bos|eos|mask|user|assistant|system)\s*>",
    r"\[\s*(?:/\s*)?inst\s*\]|<<?\s*(?:/\s*)?sys\s*>>?|<\s*(?:start|end)_of_turn\s*>",
    r"#{2,6}\s*(?:instructions?|response|input|output|user|assistant|system|human)\b\s*:?",
    # code fences
    r"`{3,}|~{3,}",
    # section headers, with or without brackets and emphasis
    rf"\[{_GAP}(?:explanation|{_any(_HEADERS)})[^\]\n:]{{0,30}}\]?\s*:?",
    rf"{_any(_HEADERS)}{_GAP}(?:[\])]{_GAP})?:",
    # the lines of the answer, whole or shortened
    rf"{_MARK}?{_any(_LABELS)}(?:/position)?\s*:?(?:\s*[0-9]+\s*\.)?",
    rf"{_MARK}(?:false report|missing|misidentif|misassess|mentioning|omi(?:tting|ssion))"
    r"[^:\n]{0,60}:\s*[0-9]+\s*\.?",
    # the headings of the prompt
    rf"{_NUMBER}{_any(_HEADINGS)}\s*:?",
    rf"{_NUMBER}{_any(('reference report', 'candidate report'))}\s*:|objective\s*:\s*evaluate\b",
    r"<\s*(?:explanation|error type|error [1n]|finding [1n]|the number of (?:errors|matched findings))\s*>",
)
_SPEECH = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS))
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]+")  # not tab, LF, CR, NEL
# Characters of other scripts that look like those of the phrases and marks above.
_ALIKE = str.maketrans(
    "асеорхуіѕԁһмткԛԝ" + "ɑοινρτκ" + "ıſɡɩ" + "’‘" + "\u2800",
    "aceopxyisdhmtkqw" + "aoivptk" + "isgi" + "''" + " ",
) | str.maketrans(
    "꞉ː∶։׃" + "【〔⟦⁅〚" + "】〕⟧⁆〛" + "‹〈⟨❮" + "›〉⟩❯" + "∣ǀ│┃¦",
    ":::::" + "[[[[[" + "]]]]]" + "<<<<" + ">>>>" + "|||||",
)
_BLANK_LETTERS = "\u115f\u1160\u3164\uffa0"  # fillers of Hangul: letters to Unicode, nothing to the eye
_PLAIN_ROUNDS = 8  # more than an honest text or a clumsy one needs


class Neutralised(NamedTuple):
    """text: the report without what was found; hits: how many such places there were."""

    text: str
    hits: int


def neutralise(candidate: str) -> Neutralised:
    """Put a space where the candidate speaks as the judge or the user; ordinary reports stay as they are.

    Found are section headers, the lines and the headings of GREEN's prompt, chat markers, code fences, control and
    invisible characters, in any case, spacing, width, and with look-alike letters. Lone surrogates, which no tokenizer
    takes, become U+FFFD and are not counted. Neutralising twice changes nothing more.
    """
    text, hits = _CONTROL.subn(" ", _SURROGATES.sub("\ufffd", candidate))
    text, invisible = _without_invisible(text)
    hits += invisible
    margin = 0
    for rounds in itertools.count(1):  # what stood around a removed place may itself form one
        text, found = _once(text, margin)
        if not found:
            break
        hits += found
        # Marks nested by the thousand would cost a round each: from here on ever more around them goes as well.
        margin = 2 * margin + 16 if rounds >= _PLAIN_ROUNDS else 0
    return Neutralised(text, hits)


def _without_invisible(text: str) -> tuple[str, int]:
    if text.isascii():
        return text, 0
    kept = [c for c in text if unicodedata.category(c) != "Cf" and c not in _BLANK_LETTERS]
    return "".join(kept), int(len(kept) != len(text))


def _once(text: str, margin: int) -> tuple[str, int]:
    """Take out what is found, with `margin` characters on either side; the text, and how many places there were."""
    folded, places = _fold(text)
    spans = [(places[found.start()], places[found.end() - 1] + 1) for found in _SPEECH.finditer(folded)]
    pieces, end = [], 0
    for start, stop in spans:
        pieces.append(text[end : max(end, start - margin)].rstrip(" "))
        end = max(end, stop + margin)
        while text[end : end + 1] == " ":
            end += 1
    return " ".join([*pieces, text[end:]]) if spans else text, len(spans)


def _fold(text: str) -> tuple[str, list[int]]:
    """A copy to search in, and for each of its characters (and its end) the place in `text`."""
    if text.isascii():
        return text.lower(), list(range(len(text) + 1))
    folded, places = [], []
    for place, character in enumerate(text):
        spelt = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", character).lower())
        plain = "".join(c for c in spelt if unicodedata.category(c)[0] != "M").translate(_ALIKE)
        folded.append(plain)
        places += [place] * len(plain)
    return "".join(folded), [*places, len(text)]
