"""Text to tokens: normalised words, grouped into the longest known phrases by one word-level trie."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from enum import IntEnum, auto

from judges.findings import cues
from judges.findings.entities import DEVICES, ENTITIES, STRUCTURES, word_set


class Kind(IntEnum):  # hashed as an integer: sets of kinds are asked for everywhere
    ENTITY = auto()
    STRUCTURE = auto()
    PREDICATE = auto()
    ABSENT = auto()  # a phrase that states absence by itself
    ABNORMALITY = auto()
    NEGATION = auto()
    NEGATION_AFTER = auto()
    UNCERTAIN = auto()
    UNCERTAIN_AFTER = auto()
    PLACE = auto()
    SIDE_ZONE = auto()
    SEVERITY = auto()
    COMPARISON = auto()
    STOP = auto()
    VERB = auto()
    PREPOSITION = auto()
    ARTICLE = auto()
    ASKED = auto()  # names a finding without saying whether it is there
    COMMA = auto()
    CONJUNCTION = auto()
    UNIT = auto()
    OTHER = auto()


class Token:
    """One phrase. `value` is the entity, structure, predicate, direction ...; `words` its normalised text."""

    __slots__ = ("kind", "negated", "resolved", "uncertain", "value", "words")

    def __init__(self, kind: Kind, value: str, words: str) -> None:
        self.kind, self.value, self.words = kind, value, words
        self.negated = self.resolved = self.uncertain = False

    def __repr__(self) -> str:
        return f"<{self.kind.name} {self.value or self.words}{' negated' if self.negated else ''}>"


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}
_PIECE = re.compile(
    r"[a-z]+|(?<=\s)\(?\d{1,2}\)(?=\s)|(?<=\s)\(?[a-h]\)(?=\s)|(?<=\s)\([iv]+\)(?=\s)|\d+(?:\.\d+)?|\.{3,}|…|"
    r"(?<=\s)(?:-+>|[-–—]+|→)(?=\s)|—|[.;!?,/()&:=|│¦•▪◦●‣·■□○►▶➢✓✔]|(?<=\s)\*(?=\s)"
)
_ENDS = frozenset(".;!•▪◦●‣·■□○►▶➢✓✔*")
_ITEM_ENDS = ")"  # of "2)" and "(b)"
MARKS = frozenset(":|-?")  # between a key and its value, the cells of a row, the items of a line
_HYPHENATED = re.compile(r"([a-z]+)-\s+([a-z]+)")
_SHORTENED: dict[str, tuple[str, ...]] = {
    **{f"{verb}n": (verb, "not") for verb in ("is", "are", "was", "were", "has", "have", "had", "do", "does", "did",
                                              "could", "should", "would")},
    "can": ("cannot",),
}  # fmt: skip
ANSWERS = word_set("no|none|nil|negative|neg|absent|yes|present|positive|n|y")
_SINGULAR = {
    "pneumothoraces": "pneumothorax", "pneumothoraxes": "pneumothorax", "apices": "apex", "bases": "base",
    "hila": "hilum", "hilus": "hilum", "masses": "mass", "processes": "process", "diagnoses": "diagnosis",
    "metastases": "metastasis", "vertebrae": "vertebra", "granulomata": "granuloma", "bullae": "bulla",
    "spaces": "space", "fractures": "fracture", "appears": "appear", "appeared": "appear", "appearing": "appear",
    "shows": "show", "showed": "show", "showing": "show", "demonstrates": "demonstrate", "reveals": "reveal",
    "demonstrated": "demonstrated", "remains": "remain", "remained": "remain", "remaining": "remaining",
    "oedema": "edema", "haemothorax": "hemothorax", "osseus": "osseous", "indices": "index", "lenses": "lens",
    "pacemakers": "pacemaker", "atelectases": "atelectasis", "calibre": "caliber", "tumour": "tumor",
    "this": "this", "is": "is", "was": "was", "has": "has", "as": "as", "its": "its", "vs": "vs", "tips": "tips",
    "s": "s", "us": "us", "always": "always", "previous": "previous", "measures": "measure", "projects": "project",
    "suggests": "suggest", "represents": "represent", "lungs": "lung", "cardio": "cardio", "seems": "seem",
}  # fmt: skip


def singular(word: str) -> str:
    """`word` without its plural ending, as far as phrases need it."""
    known = _SINGULAR.get(word)
    if known is not None:
        return known
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and word[-2] not in "suia":
        return word[:-1]
    if len(word) > 4 and word.endswith("as"):  # hernias, areas, granulomas
        return word[:-1]
    return word


class _Words(dict):
    """Piece of text -> the word that the trie knows it by, kept for up to 20,000 pieces."""

    def __missing__(self, piece: str) -> str:
        word = _MARK_OF.get(piece[0]) or singular(piece)
        if len(self) < 20_000:
            self[piece] = word
        return word


_MARK_OF = {**dict.fromkeys("-–—→.…", "-"), **dict.fromkeys("|│¦", "|"), ":": ":", "=": ":", "?": "?"}
_WORDS = _Words()


def normalise(text: str) -> str:
    """NFKC, lower case, without zero-width, control and lone surrogate characters (line ends become spaces)."""
    if text.isascii():
        return _CONTROL.sub("", text).lower()
    kept = (c if unicodedata.category(c) not in _INVISIBLE else " " if c in "\n\r\t" else "" for c in text)
    folded = unicodedata.normalize("NFKC", "".join(kept)).lower()
    return "".join(c for c in folded if unicodedata.category(c) not in _INVISIBLE)


def sentences(line: str) -> Iterator[list[str]]:
    """The sentences of one line: normalised words, punctuation inside sentences, and MARKS between key and value."""
    sentence: list[str] = []
    text = normalise(line)
    if "- " in text:
        text = _HYPHENATED.sub(_rejoined, text)
    pieces = _PIECE.findall(text)
    for i, piece in enumerate(pieces):
        if piece in _ENDS or piece[-1] in _ITEM_ENDS and len(piece) > 1:
            if piece == ";" and sentence and _only_answers(pieces[i + 1 : i + 3]):
                sentence.append(":")
            elif piece == ";" and sentence and _leads_to_or(pieces, i):
                sentence.append(",")
            elif sentence:
                yield sentence
                sentence = []
        elif piece == "t" and sentence and sentence[-1] in _SHORTENED:  # "isn't"
            sentence[-1:] = _SHORTENED[sentence[-1]]
        else:
            sentence.append(_WORDS[piece])
    if sentence:
        yield sentence


def _only_answers(pieces: list[str]) -> bool:
    """Is "none" of "Effusion; none." all that follows the semicolon?"""
    return bool(pieces) and pieces[0] in ANSWERS and (len(pieces) == 1 or pieces[1] in _ENDS)


def _leads_to_or(pieces: list[str], i: int) -> bool:
    """Is the semicolon at `i` inside a list: "no consolidation; effusion; or pneumothorax"?"""
    for semicolon, following in itertools.pairwise(pieces[i:]):
        if semicolon in _ENDS and semicolon != ";":
            return False
        if semicolon == ";" and following in ("or", "nor"):
            return True
    return False


def _rejoined(match: re.Match[str]) -> str:
    """ "pneumo- thorax" is one word, "left- sided" two, and "effusion- none" a key and its value."""
    first, second = match.groups()
    if singular(first + second) in _VOCABULARY:
        return first + second
    return f"{first} : {second}" if second in ANSWERS else f"{first} {second}"


def tokenise(words: Sequence[str]) -> list[Token]:
    """The longest phrases of the trie, left to right; unknown words stay as tokens of kind OTHER."""
    tokens, at, count = [], 0, len(words)
    while at < count:
        node, best, end, look = _TRIE.get(words[at]), None, at + 1, at + 1
        while node is not None:
            if "" in node:
                best, end = node[""], look
            node = node.get(words[look]) if look < count else None
            look += 1
        phrase = " ".join(words[at:end])
        kind, value = best if best is not None else (Kind.OTHER, "")
        tokens.append(Token(kind, value, phrase))
        at = end
    return tokens


def _build() -> dict:
    trie: dict = {}

    def add(phrases: str, kind: Kind, value: str = "") -> None:
        for phrase in phrases.split("|"):
            node = trie
            for word in phrase.split():
                node = node.setdefault(singular(word), {})
            if kind is Kind.SIDE_ZONE and node.get("", (None,))[0] is kind:
                value_here = node[""][1] + value  # "bibasilar" is a side and a zone
            else:
                value_here = value
            node[""] = (kind, value_here)

    # Later groups win where one phrase stands in two.
    add(cues.ARTICLES, Kind.ARTICLE)
    add(cues.PREPOSITIONS, Kind.PREPOSITION)
    for value, phrases in cues.ASKED.items():
        add(phrases, Kind.ASKED, value)
    add(cues.VERBS, Kind.VERB)
    for value, phrases in cues.PREDICATES.items():
        add(phrases, Kind.PREDICATE, value)
    for value, phrases in STRUCTURES.items():
        add(phrases, Kind.STRUCTURE, value)
    for value, phrases in ENTITIES.items():
        add(phrases, Kind.ENTITY, value)
    for value, phrases in cues.ABNORMALITY.items():
        add(phrases, Kind.ABNORMALITY, value)
    for value, phrases in cues.ABSENT.items():
        add(phrases, Kind.ABSENT, value)
    for side, phrases in cues.SIDES.items():
        add(phrases, Kind.SIDE_ZONE, side)
    for zone, phrases in cues.ZONES.items():
        add(phrases, Kind.SIDE_ZONE, zone)
        for side_words, side in (
            ("left", "L"),
            ("right", "R"),
            ("l", "L"),
            ("r", "R"),
            ("both", "LR"),
            ("bilateral", "LR"),
        ):
            add("|".join(f"{side_words} {phrase}" for phrase in phrases.split("|")), Kind.SIDE_ZONE, side + zone)
    for place, phrases in cues.LOBES.items():
        add(phrases, Kind.SIDE_ZONE, place)
    add(cues.PLACES, Kind.PLACE)
    for value, phrases in cues.SEVERITIES.items():
        add(phrases, Kind.SEVERITY, value)
    for value, phrases in cues.COMPARISONS.items():
        add(phrases, Kind.COMPARISON, value)
    add(cues.UNCERTAIN_BEFORE, Kind.UNCERTAIN)
    add(cues.UNCERTAIN_AFTER, Kind.UNCERTAIN_AFTER)
    for value, phrases in cues.NEGATION_BEFORE.items():
        add(phrases, Kind.NEGATION, value)
    for value, phrases in cues.NEGATION_AFTER.items():
        add(phrases, Kind.NEGATION_AFTER, value)
    for device in sorted(DEVICES):
        add("|".join(f"{phrase} removal" for phrase in ENTITIES[device].split("|")), Kind.ABSENT, device)
    add(cues.TERMINATION, Kind.STOP)
    add(",|(|)", Kind.COMMA)
    add("and|or|/|&", Kind.CONJUNCTION)
    add(cues.UNITS, Kind.UNIT)
    return trie


def _vocabulary(trie: dict) -> set[str]:
    words = set(trie) - {""}
    for word in words.copy():
        words |= _vocabulary(trie[word])
    return words


_TRIE = _build()
_VOCABULARY = _vocabulary(_TRIE)
