"""The meaning of a trigger in context: which way "no" looks, and when "resolved" or "increase" is itself denied."""

from __future__ import annotations

from judges.findings.cues import OPERATIONS
from judges.findings.entities import DEVICES, OPERATED, word_set
from judges.findings.tokens import Kind, Token

NOUNS = {Kind.ENTITY, Kind.STRUCTURE, Kind.ABNORMALITY}
TEMPORAL = frozenset(["same", "better", "worse", "new"])
SEEN = word_set(
    "seen|identified|noted|present|visible|evident|appreciated|demonstrated|detected|visualized|observed|"
    "found|shown|apparent|yes|positive"
)
_STATES = NOUNS | {Kind.PREDICATE, Kind.COMPARISON, Kind.ABSENT}
_ENDS = {Kind.COMMA, Kind.STOP, Kind.CONJUNCTION}
_PARTLY = word_set("partially|partly|partial|nearly|near|almost|incompletely|incomplete|mostly|largely|somewhat|slowly")
_WHOLLY = word_set("completely|fully|entirely|totally|complete")
EXCLUDING = ("exclude", "excluded", "rule out", "ruled out")
_LEAVES_OPEN = word_set("cannot|not|unable|impossible|to|should|must|need")
_AFTERWARDS = ("after", "following", "post", "since", "from")
_OPERATIONS = word_set(OPERATIONS)
_PARTS = ("tip", "distal tip", "end", "distal end", "side port", "distal portion", "distal course")


def settle(tokens: list[Token]) -> None:
    """Turn triggers into the kind that they are in this sentence."""
    for i, token in enumerate(tokens):
        if token.words in EXCLUDING:
            _settle_excluded(tokens, i)
        elif token.words in _AFTERWARDS and _operation_follows(tokens, i):
            token.kind = Kind.STOP
        if token.value == "resolved" and token.kind in (Kind.NEGATION, Kind.NEGATION_AFTER):
            _settle_resolved(tokens, i)
        if token.kind is Kind.NEGATION and _looks_back(tokens, i):
            token.kind = Kind.NEGATION_AFTER
        elif token.kind is Kind.NEGATION_AFTER and _looks_forward(tokens, i):
            token.kind = Kind.NEGATION
        if token.kind is Kind.NEGATION_AFTER and _of_a_tip(tokens, i):
            token.kind = Kind.OTHER
    _settle_comparisons(tokens)


def _settle_excluded(tokens: list[Token], i: int) -> None:
    """ "Cannot be safely excluded", "to exclude" and "must be ruled out" leave it open; "is excluded" does not."""
    before = []
    for token in reversed(tokens[max(i - 4, 0) : i]):
        if token.kind in NOUNS or token.kind in _ENDS:
            break
        before.append(token)
    if not any(token.words in _LEAVES_OPEN for token in before):
        return
    for token in before:
        if token.kind is Kind.NEGATION:
            token.kind = Kind.OTHER
    following = [token for token in _clause(tokens, i + 1) if token.words not in _WHOLLY]
    has_object = bool(following) and following[0].kind not in (Kind.PREPOSITION, Kind.VERB)
    active = tokens[i].words in ("exclude", "rule out")
    tokens[i].kind = Kind.UNCERTAIN if active and has_object else Kind.UNCERTAIN_AFTER


def _operation_follows(tokens: list[Token], i: int) -> bool:
    """ "No pneumothorax after right IJ line placement", "following biopsy of the mass"."""
    for token in tokens[i + 1 :]:
        if token.kind in (Kind.COMMA, Kind.STOP):
            return False
        if token.words in _OPERATIONS or token.value in OPERATED:
            return True
    return False


def _of_a_tip(tokens: list[Token], i: int) -> bool:
    """Is it only the tip that is not seen: "ET tube tip not visualized", "the tip of the NG tube is not seen"?"""
    device = None
    for j in range(i - 1, -1, -1):
        if tokens[j].words in _PARTS:
            return device is None or tokens[j + 1].words == "of"
        if tokens[j].kind in _ENDS or (tokens[j].kind in NOUNS and (device or tokens[j].value not in DEVICES)):
            return False
        if tokens[j].kind in NOUNS:
            device = tokens[j]
    return False


def _settle_resolved(tokens: list[Token], i: int) -> None:
    """ "Only partially cleared" is better, "has not resolved" the same; neither is absent."""
    token, words = tokens[i], []
    for j in range(i - 1, max(i - 4, -1), -1):
        before = tokens[j]
        if before.kind in NOUNS or before.kind in _ENDS:
            break
        words += before.words.split()
        if before.kind is Kind.NEGATION:
            before.kind, token.kind = Kind.OTHER, Kind.COMPARISON
            token.value = "better" if _WHOLLY.intersection(words) else "same"
            return
    if _PARTLY.intersection(words):
        token.kind, token.value = Kind.COMPARISON, "better"
    elif token.words == "resolution":  # "complete resolution of" is a phrase of its own
        token.kind = Kind.NEGATION_AFTER


def _looks_back(tokens: list[Token], i: int) -> bool:
    """Is the finding before it, and nothing behind: "Pleural effusion: none seen", "pneumothorax is not"?"""
    words = tokens[i].words
    if words == "not":
        following = _clause(tokens, i + 1)
        if following and following[-1].words not in SEEN:
            return False
    elif words.split()[0] not in ("no", "none", "nil", "negative", "neg"):
        return False
    if any(token.kind in _STATES for token in _clause(tokens, i + 1, through_or=True)):
        return False
    for j in range(i - 1, -1, -1):
        before = tokens[j]
        if before.kind in NOUNS:
            return True
        if before.kind in (Kind.STOP, Kind.NEGATION) or (before.kind is Kind.COMMA and j < i - 1):
            return False
    return False


def _looks_forward(tokens: list[Token], i: int) -> bool:
    """Is the finding behind it: "No longer seen is the right effusion", "Absent: pneumothorax, effusion"?"""
    for token in reversed(tokens[:i]):
        if token.kind in NOUNS:
            return False
        if token.kind in (Kind.STOP, Kind.COMMA):
            break
    return any(token.kind is Kind.ENTITY for token in _clause(tokens, i + 1))


def _clause(tokens: list[Token], start: int, through_or: bool = False) -> list[Token]:
    """The tokens from `start` to the end of the clause."""
    for j in range(start, len(tokens)):
        if tokens[j].kind in _ENDS and not (through_or and tokens[j].words == "or"):
            return tokens[start:j]
    return tokens[start:]


def _settle_comparisons(tokens: list[Token]) -> None:
    """ "No interval increase in the effusion" is an effusion that is the same."""
    for i, token in enumerate(tokens):
        if token.kind is not Kind.COMPARISON or token.value not in ("better", "worse"):
            continue
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        if following is not None and following.words != "than" and following.kind not in (
            Kind.PREPOSITION, Kind.COMPARISON, Kind.VERB, Kind.NEGATION, *_ENDS
        ):  # fmt: skip
            continue
        for j in range(i - 1, -1, -1):
            before = tokens[j]
            if before.kind is Kind.NEGATION:
                if before.value == "absent":
                    token.value = "same"
                    before.kind = Kind.OTHER
                break
            if before.kind in NOUNS or before.kind in _ENDS:
                break


def settle_sides(tokens: list[Token]) -> None:
    """ "Larger than the right" and "bilateral, worse on the left" compare sides, not studies."""
    for i, token in enumerate(tokens):
        if token.kind is not Kind.COMPARISON or token.value not in ("better", "worse"):
            continue
        following = tokens[i + 1 : i + 8]
        than = next((j for j, t in enumerate(following) if t.words == "than"), None)
        if than is not None:
            side = next((t for t in following[than + 1 :] if t.kind not in _SMALL), None)
            if side is not None and (side.kind is Kind.SIDE_ZONE or side.words in ("other", "contralateral")):
                token.kind = Kind.OTHER
        elif token.words in _DEGREES and len(following) > 1 and following[0].words in ("on", "at", "in"):
            side = next((t for t in following[1:] if t.kind not in _SMALL), None)
            both = any(t.kind is Kind.SIDE_ZONE and {"L", "R"} <= set(t.value) for t in tokens[:i])
            if both and side is not None and side.kind is Kind.SIDE_ZONE:
                token.kind = Kind.OTHER


_SMALL = {Kind.ARTICLE, Kind.PREPOSITION}
_DEGREES = ("larger", "smaller", "worse", "bigger", "more prominent", "less prominent", "more extensive")
