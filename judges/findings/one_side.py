"""A finding denied on one side and stated on the other: "right-sided effusion, none on the left"."""

from __future__ import annotations

from judges.findings.entities import word_set
from judges.findings.tokens import Kind, Token

_NOUNS = {Kind.ENTITY, Kind.STRUCTURE, Kind.ABNORMALITY, Kind.ABSENT}
_ENDS = {Kind.COMMA, Kind.STOP, Kind.CONJUNCTION}
_DENIALS = {Kind.NEGATION, Kind.NEGATION_AFTER}
_BREAKS = _DENIALS | {Kind.STOP}
_CLOSED = _BREAKS | {Kind.COMMA, Kind.VERB, Kind.PREPOSITION}
_SMALL = {Kind.ARTICLE, Kind.PREPOSITION}
_QUALIFIES = {Kind.SIDE_ZONE, Kind.SEVERITY, Kind.ARTICLE, Kind.COMPARISON, Kind.UNCERTAIN, Kind.VERB, Kind.OTHER}
_THERE = word_set("present|seen|noted|visible|remaining")


def settle_one_side(tokens: list[Token]) -> None:
    """Undo a denial of one side when the finding is stated on the other."""
    for i, token in enumerate(tokens):
        if token.kind is Kind.NEGATION_AFTER:
            _none_on_one(tokens, i)
        if token.kind is Kind.NEGATION_AFTER:
            _only_gone_from_one(tokens, i)
        elif token.kind is Kind.NEGATION and token.value == "absent":
            _right_and_no_left(tokens, i)


def _none_on_one(tokens: list[Token], i: int) -> None:
    """ "Right effusion, none on the left" and "bilateral effusions, resolved on the left" are a right effusion."""
    denied = _side_after(tokens, i)
    stated = _sides_before(tokens, i)
    if denied is None or not _sides(stated) - _sides([denied]):
        return
    gone = _sides([denied])
    for token in stated:
        token.value = "".join(c for c in token.value if c not in gone)
        if not _sides([token]):
            token.kind = Kind.OTHER
    tokens[i].kind = denied.kind = Kind.OTHER


def _only_gone_from_one(tokens: list[Token], i: int) -> None:
    """ "Effusion on the right has resolved but persists on the left" is a left effusion."""
    end = next((j for j in range(i + 1, len(tokens)) if tokens[j].kind in _ENDS), len(tokens))
    start = next((j for j in range(end, len(tokens)) if tokens[j].kind not in _ENDS), len(tokens))
    stop = next((j for j in range(start, len(tokens)) if tokens[j].kind in _ENDS), len(tokens))
    other = tokens[start:stop]
    if any(token.kind in _NOUNS or token.kind in _DENIALS for token in other):
        return
    if not any(map(_says_there, other)) or any(map(_names_another, other, other[1:])):
        return
    denied = [*_sides_before(tokens, i), *(token for token in tokens[i + 1 : end] if token.kind is Kind.SIDE_ZONE)]
    stated = _sides(other)
    if not denied or not stated or stated & _sides(denied):
        return
    for token in [tokens[i], *denied]:
        token.kind = Kind.OTHER
    for token in tokens[end:start]:  # the side behind "but" is the finding's
        token.kind = Kind.CONJUNCTION


def _says_there(token: Token) -> bool:
    return token.kind is Kind.COMPARISON or token.words in _THERE


def _names_another(side: Token, following: Token) -> bool:
    """Does the side belong to an unknown word, as in "the right paratracheal stripe is unchanged"?"""
    return side.kind is Kind.SIDE_ZONE and following.kind in (Kind.OTHER, Kind.PLACE) and not _says_there(following)


def _right_and_no_left(tokens: list[Token], i: int) -> None:
    """ "Small right and no left effusion" is a small right effusion."""
    j = i
    while j and tokens[j - 1].kind in _ENDS:
        j -= 1
    if j in (0, i) or i + 2 >= len(tokens) or tokens[j - 1].value not in ("L", "R"):
        return
    denied, finding = tokens[i + 1 : i + 3]
    if (
        denied.kind is not Kind.SIDE_ZONE
        or finding.kind is not Kind.ENTITY
        or _sides([denied]) & _sides([tokens[j - 1]])
    ):
        return
    for token in reversed(tokens[: j - 1]):
        if token.kind in _ENDS:
            break
        if token.kind not in _QUALIFIES:  # a finding of its own, or "in the right lung"
            return
    for token in tokens[j : i + 2]:
        token.kind = Kind.OTHER


def _sides(tokens: list[Token]) -> set[str]:
    return {c for token in tokens if token.kind is Kind.SIDE_ZONE for c in token.value if c in "LR"}


def _side_after(tokens: list[Token], i: int) -> Token | None:
    """The side that the denial at `i` is about, and nothing behind it: "none on the left"."""
    for j in range(i + 1, len(tokens)):
        if tokens[j].kind is Kind.SIDE_ZONE:
            return tokens[j] if j + 1 == len(tokens) or tokens[j + 1].kind in _ENDS else None
        if tokens[j].kind not in _SMALL:
            return None
    return None


def _sides_before(tokens: list[Token], i: int) -> list[Token]:
    """The side words of the finding that the denial at `i` looks back to."""
    sides: list[Token] = []
    named = False
    for token in reversed(tokens[:i]):
        if token.kind is Kind.SIDE_ZONE:
            sides.append(token)
        elif token.kind in _NOUNS:
            if token.kind is not Kind.ENTITY or (named and sides):
                break
            named = True
        elif token.kind in (_CLOSED if named else _BREAKS):
            break
    return sides if named else []
