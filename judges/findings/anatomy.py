"""Words that name what everyone has, such as "lung markings": a finding, unless they are said to be normal."""

from __future__ import annotations

from judges.findings.entities import word_set
from judges.findings.tokens import Kind, Token

_NAMES = word_set(
    "interstitial marking|interstitial lung marking|lung marking|bronchovascular marking|interstitium|"
    "interstitial pattern|lymph node|lymph"
)
_NORMAL = word_set("normal|unremarkable|wnl|nl|nml|no enlarged")
_QUALIFIES = {Kind.PREDICATE, Kind.COMPARISON, Kind.SEVERITY, Kind.OTHER, Kind.VERB}
_UP_TO_NORMAL = {Kind.VERB, Kind.SIDE_ZONE, Kind.OTHER, Kind.PREPOSITION, Kind.ARTICLE}
_ADJECTIVES = {Kind.SIDE_ZONE, Kind.STRUCTURE, Kind.OTHER}  # "no enlarged right hilar lymph nodes"
_ENDS = {Kind.STOP, Kind.COMMA, Kind.CONJUNCTION}


def is_normal_anatomy(tokens: list[Token], i: int) -> bool:
    """ "Interstitial markings are normal" and "normal lymph nodes" find nothing."""
    return tokens[i].words in _NAMES and (_called_normal(tokens, i) or _normal_before(tokens, i))


def _called_normal(tokens: list[Token], i: int) -> bool:
    """Does a verb, a place or a list lead from the words at `i` to "normal"?"""
    plain = i == 0 or tokens[i - 1].kind not in _QUALIFIES
    linked = False
    for j in range(i + 1, len(tokens)):
        token = tokens[j]
        if token.kind is Kind.PREDICATE:
            return token.value == "normal" and not token.negated
        linked = linked or token.kind in (Kind.CONJUNCTION, Kind.PREPOSITION)
        listed = token.kind in (Kind.CONJUNCTION, Kind.STRUCTURE) and linked
        listed = listed or (token.kind is Kind.COMMA and _kind(tokens, j + 1) is Kind.CONJUNCTION)
        if not (listed and plain) and token.kind not in _UP_TO_NORMAL:  # "lung markings and heart size are normal"
            return False
    return False


def _normal_before(tokens: list[Token], i: int) -> bool:
    """ "Normal lung markings", "normal heart size and lung markings", not "heart normal lung markings increased"."""
    j = i - 1
    while _kind(tokens, j) in _ADJECTIVES:
        j -= 1
    if _kind(tokens, j) is Kind.CONJUNCTION and _kind(tokens, j - 1) is Kind.STRUCTURE:
        if _kind(tokens, i + 1) not in _ENDS:
            return False
        j -= 2
    if j < 0 or tokens[j].words not in _NORMAL or tokens[j].negated:
        return False
    return not any(token.kind is Kind.PREDICATE and token.value != "normal" for token in tokens[i:])


def _kind(tokens: list[Token], i: int) -> Kind:
    return tokens[i].kind if 0 <= i < len(tokens) else Kind.STOP
