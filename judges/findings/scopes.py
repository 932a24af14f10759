"""Negation and doubt: which tokens of a sentence a trigger reaches.

ConText (Harkema et al., 2009, doi:10.1016/j.jbi.2009.05.002): a trigger such as "no" or "possible" reaches forward,
one such as "is not seen" backward, until a termination ("but", "there is", a new statement); pseudo-triggers
("no change in") are phrases of their own in the lexicon and reach nowhere. `judges.findings.triggers` says first which
way a trigger looks here.
"""

from __future__ import annotations

from judges.findings.entities import word_set
from judges.findings.one_side import settle_one_side
from judges.findings.tokens import Kind, Token
from judges.findings.triggers import EXCLUDING, NOUNS, SEEN, TEMPORAL, settle, settle_sides
from judges.findings.unsaid import leave_unsaid

_STARTS_STATEMENT = {Kind.ARTICLE, Kind.COMPARISON, Kind.STOP, Kind.NEGATION, Kind.UNCERTAIN}
_TRIGGERS = {Kind.NEGATION, Kind.NEGATION_AFTER, Kind.UNCERTAIN, Kind.UNCERTAIN_AFTER}
_LARGE = ("large", "gross", "substantial", "severe", "marked", "extensive", "massive")  # "no effusion or large mass"
_BREAKS = {Kind.COMMA, Kind.CONJUNCTION, Kind.STOP}


def mark(tokens: list[Token], kinds: set[Kind]) -> None:
    """Set `negated`, `resolved` and `uncertain` of the tokens, which are of these `kinds`."""
    if Kind.ASKED in kinds:
        leave_unsaid(tokens)
    if kinds & _TRIGGERS:
        settle(tokens)
        settle_one_side(tokens)
        _forward(tokens)
        _backward(tokens)
    if Kind.COMPARISON in kinds:
        settle_sides(tokens)


def _forward(tokens: list[Token]) -> None:
    scope: Token | None = None
    doubt = after_verb = named = False
    for i, token in enumerate(tokens):
        kind = token.kind
        if kind is Kind.NEGATION:
            scope, after_verb, named = token, False, False
        elif kind is Kind.UNCERTAIN or leads_on(tokens, i):
            doubt = True
            if token.words in EXCLUDING:  # "no effusion, unable to exclude pneumonia"
                scope = None
        elif kind is Kind.STOP:
            scope, doubt = None, False
        elif kind is Kind.VERB:
            after_verb = scope is not None and named
        elif kind in NOUNS:
            named = True
        elif kind in (Kind.COMMA, Kind.CONJUNCTION):
            new_statement = _new_statement(tokens, i)
            if scope is not None and (after_verb or (new_statement and (named or not _adjectives_go_on(tokens, i)))):
                scope = None
            doubt = doubt and not (new_statement and token.words != "or")
        token.negated = scope is not None and kind is not Kind.NEGATION
        token.resolved = token.negated and scope is not None and scope.value == "resolved"
        token.uncertain = doubt


def leads_on(tokens: list[Token], i: int) -> bool:
    """Does a doubt that mostly looks back ("is likely") look forward here: "opacities are likely atelectasis"?"""
    if tokens[i].kind is not Kind.UNCERTAIN_AFTER:
        return False
    following = [token.kind for token in tokens[i + 1 : i + 4]]
    return Kind.ENTITY in following and Kind.COMMA not in following and Kind.STOP not in following


def _adjectives_go_on(tokens: list[Token], i: int) -> bool:
    """Is the comma or "or" at `i` between adjectives: "no new, enlarging, or suspicious nodule"?"""
    return tokens[i - 1].kind is Kind.COMPARISON and any(token.kind in NOUNS for token in tokens[i + 1 :])


def _new_statement(tokens: list[Token], i: int) -> bool:
    """Whether what follows the comma or conjunction at `i` begins a new statement, outside a list."""
    rest = tokens[i + 1 : i + 5]
    listed_or = tokens[i].words == "or"
    if rest and rest[0].kind is Kind.CONJUNCTION:
        listed_or = rest[0].words == "or"
        rest = rest[1:]
    if not rest:
        return False
    first = rest[0]
    if first.kind in (Kind.STOP, Kind.NEGATION):
        return True
    if listed_or and first.kind in (Kind.ARTICLE, Kind.SEVERITY, Kind.COMPARISON, Kind.UNCERTAIN):
        return False
    if tokens[i].words == "," and _tells_old(tokens, i):
        return True
    if first.kind in _STARTS_STATEMENT or first.kind in (Kind.ABSENT, Kind.PREDICATE):
        return True
    if first.kind is Kind.SEVERITY:
        return first.words not in _LARGE
    if first.kind is Kind.SIDE_ZONE and tokens[i].words == ",":
        return True
    if first.kind is Kind.STRUCTURE:
        after = [token.kind for token in rest[1:3]]
        if bool(after) and (after[0] in (Kind.VERB, Kind.PREDICATE) or Kind.PREDICATE in after):
            return True
    if len(rest) > 1 and rest[1].kind is Kind.UNIT:
        return True  # "no effusion, 12 mm nodule"
    return not listed_or and _asserts(tokens, i + 1)


def _tells_old(tokens: list[Token], i: int) -> bool:
    """ "No acute fracture, healed rib fractures", but not "no acute, chronic or healing fracture"."""
    if tokens[i + 1].words.split()[0] not in _OLD:
        return False
    for token in reversed(tokens[:i]):
        if token.kind in NOUNS:
            break
        if token.kind is Kind.NEGATION:
            return False
    following = _until(tokens, i + 1, {Kind.STOP, Kind.NEGATION, Kind.VERB})
    return not any(token.words in ("or", "nor") for token in following)


_OLD = word_set("old|healed|healing|remote|chronic")


def _until(tokens: list[Token], start: int, kinds: set[Kind]) -> list[Token]:
    end = next((j for j in range(start, len(tokens)) if tokens[j].kind in kinds), len(tokens))
    return tokens[start:end]


def _asserts(tokens: list[Token], start: int) -> bool:
    """Does the clause at `start` say something of its finding: "pleural effusion is moderate", "edema unchanged"?"""
    end = next((j for j in range(start + 1, len(tokens)) if tokens[j].kind in _BREAKS), len(tokens))
    noun = next((j for j in range(start, end) if tokens[j].kind is Kind.ENTITY), None)
    if noun is None or noun + 1 == end:
        return False
    following = tokens[noun + 1]
    if following.kind is Kind.SEVERITY or (following.kind is Kind.COMPARISON and following.value in TEMPORAL):
        return noun + 2 == end or tokens[noun + 2].kind is not Kind.ENTITY
    for j in range(noun + 1, end):
        token = tokens[j]
        if token.kind in _TRIGGERS:
            return False
        if token.words in _POSITIONS:
            return True
        if token.kind is Kind.VERB:
            said = [t for t in tokens[j + 1 : end] if t.kind is not Kind.VERB]
            return bool(said) and said[0].words not in SEEN and said[0].kind not in _TRIGGERS
    return False


_POSITIONS = word_set("terminate|terminating|tip|end|in|place|in|situ|position|good|standard|measuring|measure")


def _backward(tokens: list[Token]) -> None:
    for i, token in enumerate(tokens):
        if token.kind not in (Kind.NEGATION_AFTER, Kind.UNCERTAIN_AFTER) or leads_on(tokens, i):
            continue
        listed = reached = False
        start = i - 1
        while start > 0 and tokens[start].kind is Kind.COMMA and tokens[start - 1].kind in NOUNS:
            start -= 1  # "pneumothorax (none)", "effusion, none"
        for j in range(start, -1, -1):
            earlier = tokens[j]
            if earlier.kind is Kind.STOP or (earlier.kind is Kind.VERB and not _is_auxiliary(tokens, j, i)):
                break
            if earlier.kind is Kind.CONJUNCTION:
                if j and _says(tokens[j - 1]):
                    break  # "effusion present and pneumothorax absent"
                listed = True
            elif earlier.kind is Kind.COMMA and not listed and earlier.words == "," and reached:
                break
            reached = reached or earlier.kind in NOUNS
            if token.kind is Kind.UNCERTAIN_AFTER:
                earlier.uncertain, earlier.negated = True, False
            elif not earlier.negated:
                earlier.negated = True
                earlier.resolved = token.value == "resolved"


def _says(token: Token) -> bool:
    """Does this word complete what was said of a finding before it?"""
    return token.words in SEEN or token.kind is Kind.SEVERITY or token.kind is Kind.COMPARISON


def _is_auxiliary(tokens: list[Token], j: int, i: int) -> bool:
    """Is the verb at `j` part of the trigger at `i` ("has been", "are") rather than of an earlier statement?"""
    return all(t.kind not in (Kind.ENTITY, Kind.STRUCTURE, Kind.COMMA) for t in tokens[j + 1 : i])
