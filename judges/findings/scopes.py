"""Negation and doubt: which tokens of a sentence a trigger reaches.

ConText (Harkema et al., 2009, doi:10.1016/j.jbi.2009.05.002): a trigger such as "no" or "possible" reaches forward,
one such as "is not seen" backward, until a termination ("but", "there is", a new statement); pseudo-triggers
("no change in") are phrases of their own in the lexicon and reach nowhere.
"""

from __future__ import annotations

from judges.findings.tokens import Kind, Token

_STARTS_STATEMENT = {Kind.ARTICLE, Kind.COMPARISON, Kind.STOP, Kind.NEGATION, Kind.UNCERTAIN}
_TRIGGERS = {Kind.NEGATION, Kind.NEGATION_AFTER, Kind.UNCERTAIN, Kind.UNCERTAIN_AFTER}
_LARGE = ("large", "gross", "substantial", "severe", "marked", "extensive", "massive")  # "no effusion or large mass"


def mark(tokens: list[Token]) -> None:
    """Set `negated`, `resolved` and `uncertain` of the tokens."""
    if any(token.kind in _TRIGGERS for token in tokens):
        _forward(tokens)
        _backward(tokens)


def _forward(tokens: list[Token]) -> None:
    scope: Token | None = None
    doubt = after_verb = False
    for i, token in enumerate(tokens):
        kind = token.kind
        if kind is Kind.NEGATION:
            scope, after_verb = token, False
        elif kind is Kind.UNCERTAIN or leads_on(tokens, i):
            doubt = True
        elif kind is Kind.STOP:
            scope, doubt = None, False
        elif kind is Kind.VERB:
            after_verb = scope is not None
        elif kind in (Kind.COMMA, Kind.CONJUNCTION):
            new_statement = _new_statement(tokens, i)
            if scope is not None and (after_verb or new_statement):
                scope = None
            doubt = doubt and not (new_statement and token.words != "or")
        token.negated = scope is not None and kind is not Kind.NEGATION
        token.resolved = token.negated and scope is not None and scope.value == "resolved"
        token.uncertain = doubt


def leads_on(tokens: list[Token], i: int) -> bool:
    """Does a doubt that mostly looks back ("is likely") look forward here: "opacities are likely atelectasis"?"""
    following = [token.kind for token in tokens[i + 1 : i + 4]]
    return tokens[i].kind is Kind.UNCERTAIN_AFTER and (
        Kind.ENTITY in following and Kind.COMMA not in following and Kind.STOP not in following
    )


def _new_statement(tokens: list[Token], i: int) -> bool:
    """Does what follows the comma or conjunction at `i` begin a statement of its own, outside a list?"""
    rest = tokens[i + 1 : i + 5]
    if rest and rest[0].kind is Kind.CONJUNCTION:
        rest = rest[1:]
    if not rest:
        return False
    first = rest[0]
    if first.kind in _STARTS_STATEMENT or first.kind in (Kind.ABSENT, Kind.PREDICATE):
        return True
    if first.kind is Kind.SEVERITY:
        return first.words not in _LARGE
    if first.kind is Kind.SIDE_ZONE and tokens[i].words == ",":
        return True
    if first.kind is Kind.STRUCTURE:
        after = [token.kind for token in rest[1:3]]
        return bool(after) and (after[0] in (Kind.VERB, Kind.PREDICATE) or Kind.PREDICATE in after)
    return False


def _backward(tokens: list[Token]) -> None:
    for i, token in enumerate(tokens):
        if token.kind not in (Kind.NEGATION_AFTER, Kind.UNCERTAIN_AFTER) or leads_on(tokens, i):
            continue
        listed = False
        for j in range(i - 1, -1, -1):
            earlier = tokens[j]
            if earlier.kind is Kind.STOP or (earlier.kind is Kind.VERB and not _is_auxiliary(tokens, j, i)):
                break
            if earlier.kind is Kind.CONJUNCTION:
                listed = True
            elif earlier.kind is Kind.COMMA and not listed and earlier.words == ",":
                break
            if token.kind is Kind.UNCERTAIN_AFTER:
                earlier.uncertain, earlier.negated = True, False
            elif not earlier.negated:
                earlier.negated = True
                earlier.resolved = token.value == "resolved"


def _is_auxiliary(tokens: list[Token], j: int, i: int) -> bool:
    """Is the verb at `j` part of the trigger at `i` ("has been", "are") rather than of an earlier statement?"""
    return all(t.kind not in (Kind.ENTITY, Kind.STRUCTURE, Kind.COMMA) for t in tokens[j + 1 : i])
