"""A report to its statements: lines, sentences, and in them headings, keys with their values, and cells of rows.

A value that names no finding of its own belongs to its key ("Pleural effusion: None."); one that does stands alone, and
its key then states nothing ("Pneumonia: No consolidation."). A heading that ends its line is the key of what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from judges.findings.tables import rows_to_lines
from judges.findings.tokens import MARKS, Kind, Token, sentences, tokenise
from judges.layout import has_marker, statement_lines, without_marker

Words = list[str]

_NOUNS = {Kind.ENTITY, Kind.STRUCTURE, Kind.ABSENT}
_IN_A_KEY = _NOUNS | {Kind.SIDE_ZONE, Kind.CONJUNCTION, Kind.COMMA, Kind.ARTICLE, Kind.OTHER, Kind.PLACE,
                      Kind.PREPOSITION, Kind.ABNORMALITY, Kind.ASKED}  # fmt: skip
_IN_A_HEADING = {Kind.STRUCTURE, Kind.CONJUNCTION, Kind.COMMA, Kind.SIDE_ZONE, Kind.OTHER, Kind.ABNORMALITY}
_TRIGGERS = {Kind.NEGATION, Kind.NEGATION_AFTER, Kind.UNCERTAIN, Kind.UNCERTAIN_AFTER}
_BEFORE_A_NOUN = {Kind.SIDE_ZONE, Kind.ARTICLE}
_SHORTHAND = {"n": "no", "neg": "no", "0": "no", "y": "present", "x": "present", "nil": "none"}
_ADJECTIVES = {Kind.OTHER, Kind.COMPARISON, Kind.SEVERITY}
_LONGEST_HEADING = 5  # words


class Statement(NamedTuple):
    """The words of one statement, and the sides and zones that its key or heading gives it."""

    words: tuple[str, ...]
    place: str = ""


@dataclass(slots=True)
class _Part:
    """What stands between two marks, and the mark before it."""

    mark: str
    words: Words
    tokens: list[Token]

    def names_finding(self) -> bool:
        return any(token.kind is Kind.ENTITY for token in self.tokens)

    def has_noun(self) -> bool:
        return any(token.kind in _NOUNS for token in self.tokens)

    def is_key(self) -> bool:
        return all(token.kind in _IN_A_KEY for token in self.tokens)

    def is_title(self) -> bool:
        """Does it name no finding and no structure, such as "Findings" or "Impression"?"""
        return all(
            t.kind in (Kind.OTHER, Kind.CONJUNCTION, Kind.ARTICLE) or (t.kind is Kind.ABNORMALITY and not t.value)
            for t in self.tokens
        )

    def leads_on(self) -> bool:
        """Does it say how to take what follows: "No evidence of:", "Absent:"?"""
        kinds = {token.kind for token in self.tokens}
        return not kinds & _NOUNS and bool(kinds & _TRIGGERS)

    def shares_finding(self, other: _Part) -> bool:
        ours, theirs = ({t.value for t in part.tokens if t.kind is Kind.ENTITY} for part in (self, other))
        return bool(ours & theirs)

    def is_place_of(self, finding: _Part) -> bool:
        """ "Left rib" beside "Fracture"."""
        return self.is_key() and not self.names_finding() and finding.is_key() and finding.names_finding()

    def place(self) -> str:
        return "".join(token.value for token in self.tokens if token.kind is Kind.SIDE_ZONE)


def statements(text: str) -> Iterator[Statement]:
    """The statements of `text` in order."""
    lines = rows_to_lines(statement_lines(text))
    several = len(lines) > 1
    heading: _Part | None = None
    for line in lines:
        bare = without_marker(line)
        for words in sentences(bare):
            if heading is None and not several and MARKS.isdisjoint(words):
                yield Statement(tuple(words))
                continue
            parts = _parts(words)
            if not parts:
                continue
            if several and len(parts) == 1 and _is_heading(parts[0], bare):
                heading = parts[0] if parts[0].has_noun() else None
                continue
            if len(parts) > 1 and parts[0].is_key():
                heading = None
            if not parts[-1].words:  # the key of what follows
                heading = parts[-2]
                if len(parts) > 2:
                    yield from _joined(parts[:-2], None)
                continue
            yield from _joined(parts, heading)
            if heading is not None and not has_marker(line):
                heading = _Part("", [], heading.tokens) if heading.place() else None


def _is_heading(part: _Part, line: str) -> bool:
    """Whether a line stands alone, names no finding and states nothing, such as "LUNGS AND PLEURA" or "IMPRESSION"."""
    return (
        len(part.words) <= _LONGEST_HEADING
        and not line.rstrip().endswith((".", ";"))
        and all(token.kind in _IN_A_HEADING for token in part.tokens)
    )


def _parts(words: Words) -> list[_Part]:
    """Split at marks, and before a key inside a part: "no consolidation pleura: no effusion"."""
    parts: list[_Part] = []
    mark, start = "", 0
    for i, word in enumerate([*words, ""]):
        if word not in MARKS and i < len(words):
            continue
        inside = words[start:i]
        if inside:
            tokens = tokenise(inside)
            at = _key_at(tokens, mark) if word == ":" else 0
            if at:
                count = sum(len(token.words.split()) for token in tokens[:at])
                parts.append(_Part(mark, inside[:count], tokens[:at]))
                mark, inside, tokens = "|", inside[count:], tokens[at:]
            parts.append(_Part(mark, inside, tokens))
        if word:
            mark = word if inside or not parts else mark
        start = i + 1
    if words[-1] == ":" and parts:
        parts.append(_Part(":", [], []))
    return parts


def _key_at(tokens: list[Token], mark: str) -> int:
    """Index at which the key at the end of `tokens` begins; 0 if all of them are the key."""
    at = len(tokens)
    while at and (tokens[at - 1].kind in _NOUNS or tokens[at - 1].kind is Kind.OTHER):
        if tokens[at - 1].kind is Kind.OTHER and at < len(tokens):
            break
        at -= 1
        joined = at and tokens[at - 1].kind is Kind.CONJUNCTION and tokens[at].kind in _NOUNS
        if not joined:
            break
        at -= 1
    while at and tokens[at - 1].kind in _BEFORE_A_NOUN:
        at -= 1
    before = tokens[:at]
    names = any(token.kind in _NOUNS for token in before)
    answers = mark == ":" and any(token.kind not in _IN_A_KEY or token.words == "yes" for token in before)
    return at if at < len(tokens) and (names or answers) else 0


def _joined(parts: list[_Part], heading: _Part | None) -> Iterator[Statement]:
    """Put values behind their keys, and end a statement where the next part states something itself."""
    place = heading.place() if heading is not None else ""
    if heading is not None and heading.words:
        parts = [heading, _Part(":", parts[0].words, parts[0].tokens), *parts[1:]]
    current = parts[0]
    for part in parts[1:]:
        if current.is_title() and len(part.tokens) > 2:
            current, place = part, ""
        elif not _begins_with_noun(part.tokens) or part.is_place_of(current) or part.mark == ":" and current.leads_on():
            clauses = _clauses(part) if current.names_finding() else [part.words]
            for clause in clauses[:-1]:
                yield Statement((*current.words, *clause), place)
            if part.mark == "|" and not current.is_key():
                current.words.append(",")
            words = current.words + [_SHORTHAND.get(word, word) for word in clauses[-1]]
            current = _Part(current.mark, words, tokenise(words))
        elif current.is_key() and (part.mark == ":" or not current.names_finding() or current.shares_finding(part)):
            current, place = part, current.place()
        else:
            yield Statement(tuple(current.words), place)
            current, place = part, ""
    if current is not heading:
        yield Statement(tuple(current.words), place)


def _begins_with_noun(tokens: list[Token]) -> bool:
    """Does the first clause name a finding or a structure?"""
    for i, token in enumerate(tokens):
        if token.kind in _NOUNS or (token.kind is Kind.ABNORMALITY and token.value):
            return True
        if i and token.kind in (Kind.COMMA, Kind.STOP, Kind.CONJUNCTION):
            adjectives = i > 1 and tokens[0].kind is Kind.NEGATION and tokens[i - 1].kind in _ADJECTIVES
            if token.kind is Kind.STOP or not adjectives:  # "no acute, displaced fracture" continues
                return False
    return False


def _clauses(part: _Part) -> list[Words]:
    """The clauses of "none on the left, small on the right", which deny and state; otherwise all in one."""
    kinds = {token.kind for token in part.tokens}
    if Kind.NEGATION not in kinds or Kind.COMMA not in kinds or kinds & _NOUNS:
        return [part.words]
    clauses: list[Words] = [[]]
    for word in part.words:
        if word == ",":
            clauses.append([])
        else:
            clauses[-1].append(word)
    return [clause for clause in clauses if clause]
