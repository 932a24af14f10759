"""The meaning of a trigger in context: which way "no" looks, and when "resolved" or "increase" is itself denied."""

from __future__ import annotations

from judges.findings.entities import word_set
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


def settle(tokens: list[Token]) -> None:
    """Turn triggers into the kind that they are in this sentence."""
    for i, token in enumerate(tokens):
        if token.value == "resolved" and token.kind in (Kind.NEGATION, Kind.NEGATION_AFTER):
            _settle_resolved(tokens, i)
        if token.kind is Kind.NEGATION and _looks_back(tokens, i):
            token.kind = Kind.NEGATION_AFTER
        elif token.kind is Kind.NEGATION_AFTER and _looks_forward(tokens, i):
            token.kind = Kind.NEGATION
    _settle_comparisons(tokens)


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
