"""Findings that a sentence names without saying whether they are there: "evaluation for pneumothorax is limited"."""

from __future__ import annotations

from judges.findings.entities import word_set
from judges.findings.tokens import Kind, Token

_DENIALS = {Kind.NEGATION, Kind.NEGATION_AFTER}
_NOUNS = {Kind.ENTITY, Kind.STRUCTURE, Kind.ABNORMALITY}
_NAMING = _NOUNS | {Kind.OTHER, Kind.ARTICLE, Kind.SIDE_ZONE, Kind.SEVERITY, Kind.CONJUNCTION, Kind.PLACE}
_BARE = {Kind.ENTITY, Kind.STRUCTURE, Kind.OTHER, Kind.CONJUNCTION}
_AFFIRMS = word_set("positive|yes|present")


def leave_unsaid(tokens: list[Token]) -> None:
    """Make plain words of the findings that are only asked for."""
    for i, token in enumerate(tokens):
        if token.kind is not Kind.ASKED:
            continue
        token.kind = Kind.OTHER
        for asked in _asked_for(tokens, i) if token.value == "before" else _left_to_others(tokens, i):
            if asked.kind is Kind.ENTITY:
                asked.kind = Kind.OTHER


def _asked_for(tokens: list[Token], i: int) -> list[Token]:
    """ "Evaluation for pneumothorax and effusion", unless an answer follows: "evaluated for effusion, none seen"."""
    end = _end(tokens, i + 1, _NAMING | {Kind.COMMA})
    if all(token.words != "or" for token in tokens[i + 1 : end]):  # no list: "evaluation for edema, small effusion"
        end = _end(tokens, i + 1, _NAMING)
    rest = tokens[end:]
    if any(token.words in _AFFIRMS for token in rest):
        return []
    denial = next((j for j, token in enumerate(rest) if token.kind in _DENIALS), None)
    if denial is not None and not any(token.kind in _NOUNS for token in rest[denial:]):
        return []
    return tokens[i + 1 : end]


def _end(tokens: list[Token], start: int, kinds: set[Kind]) -> int:
    return next((j for j in range(start, len(tokens)) if tokens[j].kind not in kinds), len(tokens))


def _left_to_others(tokens: list[Token], i: int) -> list[Token]:
    """ "Rib fractures would be better assessed with rib views"; "the nodule" or "a small nodule" would be there."""
    named = tokens[:i]
    return named if all(token.kind in _BARE for token in named) else []
