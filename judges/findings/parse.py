"""A report to its findings: what is stated present or absent, where, how severe, and compared with what.

Scopes follow ConText (Harkema et al., 2009, doi:10.1016/j.jbi.2009.05.002): a trigger such as "no" or "possible"
reaches forward, one such as "is not seen" backward, until a termination ("but", "there is", a new statement);
pseudo-triggers ("no change in") reach nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from judges.findings.entities import LOCATED, NORMAL_MEANS, PREDICATE_MEANS, REFINED_BY
from judges.findings.tokens import Kind, Token, sentences, tokenise

_STARTS_STATEMENT = {Kind.ARTICLE, Kind.COMPARISON, Kind.STOP, Kind.NEGATION, Kind.UNCERTAIN}
_LINKS = {Kind.CONJUNCTION, Kind.COMMA, Kind.UNCERTAIN}
_SPATIAL_BREAKS = {Kind.VERB, Kind.PREPOSITION, Kind.COMMA, Kind.STOP, Kind.NEGATION}
_ADJECTIVES = {Kind.SIDE_ZONE, Kind.SEVERITY, Kind.OTHER, Kind.COMPARISON}
_SUBJECTS = frozenset({Kind.STRUCTURE, Kind.ENTITY, Kind.ABNORMALITY})


@dataclass(slots=True)
class Mention:
    """One entity in one sentence."""

    entity: str
    absent: bool = False
    uncertain: bool = False
    sides: set[str] = field(default_factory=set)
    zones: set[str] = field(default_factory=set)
    severity: set[str] = field(default_factory=set)
    sentence: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A statement against an earlier study: `direction` is same, better, worse, new, resolved, or prior (untold)."""

    targets: frozenset[str]
    direction: str


@dataclass(slots=True)
class Finding:
    """All mentions of one entity. Present wins over absent: "no effusion ... a small left effusion" is an effusion."""

    present: bool
    uncertain: bool = False
    sides: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    severity: frozenset[str] = frozenset()
    sentences: frozenset[int] = frozenset()


@dataclass(slots=True)
class Report:
    findings: dict[str, Finding]
    comparisons: frozenset[Comparison]


def parse(text: str) -> Report:
    mentions: list[Mention] = []
    comparisons: set[Comparison] = set()
    last_targets: frozenset[str] = frozenset()
    for number, words in enumerate(sentences(text)):
        found = _Sentence(tokenise(words), number)
        mentions += found.mentions
        comparisons |= found.comparisons(last_targets)
        if found.targets:
            last_targets = found.targets
    return Report(_merged(mentions), frozenset(comparisons))


def _merged(mentions: list[Mention]) -> dict[str, Finding]:
    by_entity: dict[str, list[Mention]] = {}
    for mention in mentions:
        by_entity.setdefault(mention.entity, []).append(mention)
    findings = {}
    for entity, group in by_entity.items():
        present = [m for m in group if not m.absent]
        used = present or group
        findings[entity] = Finding(
            present=bool(present),
            uncertain=all(m.uncertain for m in used),
            sides=frozenset().union(*(m.sides for m in used)),
            zones=frozenset().union(*(m.zones for m in used)),
            severity=frozenset().union(*(m.severity for m in used)),
            sentences=frozenset(m.sentence for m in used),
        )
    return findings


class _Sentence:
    """The mentions of one sentence. `at[i]` is the mention that token i made, if any."""

    def __init__(self, tokens: list[Token], number: int) -> None:
        self.tokens, self.number = tokens, number
        self.at: dict[int, list[Mention]] = {}
        self.structures: dict[int, tuple[str, ...]] = {}  # structures without a predicate, for comparisons
        kinds = {token.kind for token in tokens}
        self.kinds = kinds
        if kinds & {Kind.NEGATION, Kind.NEGATION_AFTER, Kind.UNCERTAIN, Kind.UNCERTAIN_AFTER}:
            self._forward_scopes()
            self._backward_scopes()
        self._entities()
        if Kind.STRUCTURE in kinds or Kind.ABNORMALITY in kinds:
            self._predicates()
        if self.at:
            self._locations()
            self._severities()
        self.mentions = [mention for index in sorted(self.at) for mention in self.at[index]]
        stated = {m.entity for m in self.mentions if not m.absent}
        self.targets = frozenset(stated or {key for keys in self.structures.values() for key in keys})

    # Negation and doubt

    def _forward_scopes(self) -> None:
        scope: Token | None = None
        doubt = after_verb = False
        for i, token in enumerate(self.tokens):
            kind = token.kind
            if kind is Kind.NEGATION:
                scope, after_verb = token, False
            elif kind is Kind.UNCERTAIN:
                doubt = True
            elif kind is Kind.STOP:
                scope, doubt = None, False
            elif kind is Kind.VERB:
                after_verb = scope is not None
            elif kind in (Kind.COMMA, Kind.CONJUNCTION):
                if scope is not None and (after_verb or self._new_statement(i)):
                    scope = None
                if kind is Kind.COMMA or self._new_statement(i):
                    doubt = doubt and not self._new_statement(i)
            token.negated = scope is not None and kind is not Kind.NEGATION
            token.resolved = token.negated and scope is not None and scope.value == "resolved"
            token.uncertain = doubt

    def _new_statement(self, i: int) -> bool:
        """Does what follows the comma or conjunction at `i` begin a statement of its own, outside a list?"""
        rest = self.tokens[i + 1 : i + 5]
        if rest and rest[0].kind is Kind.CONJUNCTION:
            rest = rest[1:]
        if not rest:
            return False
        first = rest[0]
        if first.kind in _STARTS_STATEMENT or first.kind in (Kind.ABSENT, Kind.PREDICATE):
            return True
        if first.kind is Kind.SEVERITY:
            return first.words not in ("large", "gross", "substantial", "severe", "marked", "extensive", "massive")
        if first.kind is Kind.SIDE_ZONE and self.tokens[i].words == ",":
            return True
        if first.kind is Kind.STRUCTURE:
            after = [token.kind for token in rest[1:3]]
            return bool(after) and (after[0] in (Kind.VERB, Kind.PREDICATE) or Kind.PREDICATE in after)
        return False

    def _backward_scopes(self) -> None:
        for i, token in enumerate(self.tokens):
            if token.kind not in (Kind.NEGATION_AFTER, Kind.UNCERTAIN_AFTER):
                continue
            listed = False
            for j in range(i - 1, -1, -1):
                earlier = self.tokens[j]
                if earlier.kind is Kind.STOP or (earlier.kind is Kind.VERB and not self._is_auxiliary(j, i)):
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

    def _is_auxiliary(self, j: int, i: int) -> bool:
        """Is the verb at `j` part of the trigger at `i` ("has been", "are") rather than of an earlier statement?"""
        return all(t.kind not in (Kind.ENTITY, Kind.STRUCTURE, Kind.COMMA) for t in self.tokens[j + 1 : i])

    # Findings

    def _add(self, i: int, entity: str, absent: bool) -> None:
        token = self.tokens[i]
        mention = Mention(entity, absent, token.uncertain and not absent, sentence=self.number)
        self.at.setdefault(i, []).append(mention)

    def _entities(self) -> None:
        for i, token in enumerate(self.tokens):
            if token.kind is Kind.ENTITY:
                self._add(i, self._refined(i, token.value), token.negated)
            elif token.kind is Kind.ABSENT:
                self._add(i, token.value, True)

    def _refined(self, i: int, entity: str) -> str:
        if entity in REFINED_BY:
            words, other = REFINED_BY[entity]
            before = [t.words for t in self.tokens[max(i - 4, 0) : i] if t.kind not in _SPATIAL_BREAKS]
            if words.intersection(" ".join(before).split()):
                return other
        return entity

    def _predicates(self) -> None:
        """Pair structures with what is said of them: "heart is enlarged", "normal heart size", "no bony abnormality"."""
        pending: list[int] = []  # structures that wait for a predicate
        before: Token | None = None  # a predicate that waits for structures
        before_at, verb_since, entity_since = 0, False, False
        for i, token in enumerate(self.tokens):
            kind = token.kind
            if kind is Kind.STRUCTURE:
                if verb_since and before is None and pending and self.tokens[i - 1].kind is not Kind.CONJUNCTION:
                    pending = []
                verb_since = entity_since = False
                if before is not None:
                    self._state(before, before_at, i)
                    before = before if before.value == "normal" else None
                else:
                    pending.append(i)
                self.structures[i] = self._normal_means(i)
            elif kind is Kind.VERB:
                verb_since = True
            elif kind is Kind.ENTITY:
                before, entity_since = None, True
                if verb_since:
                    pending = []
            elif kind is Kind.STOP:
                pending, before, verb_since = [], None, False
            elif kind is Kind.PREDICATE:
                if pending and (verb_since or not self._structure_follows(i)):
                    for j in pending:
                        self._state(token, i, j)
                    pending, before = [], None
                else:
                    pending, before, before_at = [], token, i
            elif kind is Kind.ABNORMALITY and token.negated:
                about = [] if entity_since else pending
                if before is not None and before.value == "normal":
                    about = []
                for j in about:
                    for key in self._normal_means(j):
                        self._add(i, key, True)
                if not about and not self._has_words_before(i):
                    self._add(i, "acute_disease", True)
                pending = []

    def _state(self, predicate: Token, predicate_at: int, structure_at: int) -> None:
        value = self.tokens[structure_at].value
        previous = self.tokens[predicate_at - 1] if predicate_at else None
        said_not = previous is not None and previous.kind is Kind.NEGATION
        if predicate.value == "normal":
            if not said_not:
                for key in self._normal_means(structure_at):
                    self._add(predicate_at, key, True)
            return
        entity = PREDICATE_MEANS.get((predicate.value, value))
        if entity is not None:
            self._add(predicate_at, entity, predicate.negated)

    def _normal_means(self, i: int) -> tuple[str, ...]:
        """What is absent when the structure at `i` is normal; one clear lung says nothing of the other."""
        value = self.tokens[i].value
        if value == "lungs" and i:
            sides = {c for c in self.tokens[i - 1].value if c in "LR"} if self._is_place(i - 1) else set()
            if len(sides) == 1:
                return (("left" if "L" in sides else "right") + "_lung_disease",)
        return NORMAL_MEANS.get(value, ())

    def _structure_follows(self, i: int) -> bool:
        for token in self.tokens[i + 1 : i + 5]:
            if token.kind is Kind.STRUCTURE:
                return True
            if token.kind in (Kind.COMMA, Kind.CONJUNCTION, Kind.STOP, Kind.PREPOSITION, Kind.NEGATION, Kind.ENTITY):
                return token.words == "of" and self._structure_follows(i + 1)
        return False

    def _has_words_before(self, i: int) -> bool:
        """Does an unknown word or another subject qualify the abnormality ("no acute soft tissue finding")?"""
        for token in reversed(self.tokens[:i]):
            if token.kind is Kind.NEGATION:
                return False
            if token.kind in _SUBJECTS or (token.kind is Kind.OTHER and token.words not in _PLAIN):
                return True
        return False

    # Attributes

    def _is_place(self, i: int) -> bool:
        return 0 <= i < len(self.tokens) and self.tokens[i].kind is Kind.SIDE_ZONE

    def _locations(self) -> None:
        if Kind.SIDE_ZONE not in self.kinds:
            return
        for i, token in enumerate(self.tokens):
            if token.kind is not Kind.SIDE_ZONE:
                continue
            start = i
            while start and self.tokens[start - 1].kind in (Kind.SIDE_ZONE, Kind.CONJUNCTION, Kind.ARTICLE):
                start -= 1
            in_phrase = start > 0 and self.tokens[start - 1].kind is Kind.PREPOSITION
            forward, backward = self._forward(i), self._backward(i)
            if in_phrase and backward is not None:
                target, step = backward, -1
            elif forward is not None:
                target, step = forward, 1
            elif backward is not None:
                target, step = backward, -1
            else:
                target, step = next((j for j in sorted(self.at) if j > i), None), 1
            for mention in self._linked(target, step):
                if mention.entity in LOCATED:
                    mention.sides |= {c for c in token.value if c in "LR"}
                    mention.zones |= {c for c in token.value if c in "UMD"}

    def _forward(self, i: int) -> int | None:
        """The mention that the adjective at `i` stands before."""
        for j in range(i + 1, len(self.tokens)):
            if j in self.at:
                return j
            kind = self.tokens[j].kind
            if kind in _SPATIAL_BREAKS or kind is Kind.UNCERTAIN:
                return None
            if kind is Kind.CONJUNCTION and not (
                j + 1 < len(self.tokens) and self.tokens[j + 1].kind in (Kind.SIDE_ZONE,)
            ):
                return None
        return None

    def _backward(self, i: int) -> int | None:
        for j in range(i - 1, -1, -1):
            if j in self.at:
                return j
            if self.tokens[j].kind in (Kind.STOP, Kind.NEGATION):
                return None
        return None

    def _linked(self, target: int | None, step: int) -> list[Mention]:
        """The mentions at `target`, and those joined to it by nothing but "and", "or", "/" or "versus"."""
        if target is None:
            return []
        mentions = list(self.at[target])
        j = target + step
        while 0 <= j < len(self.tokens):
            if j in self.at and self.tokens[j - step].kind in _LINKS:
                mentions += self.at[j]
            elif self.tokens[j].kind not in _LINKS:
                break
            j += step
        return mentions

    def _severities(self) -> None:
        if Kind.SEVERITY not in self.kinds:
            return
        for i, token in enumerate(self.tokens):
            if token.kind is not Kind.SEVERITY:
                continue
            after_verb = i > 0 and self.tokens[i - 1].kind is Kind.VERB
            target = None
            for j in range(i + 1, len(self.tokens)):
                if j in self.at:
                    target = j
                    break
                following = self.tokens[j]
                if following.kind in (Kind.VERB, Kind.STOP, Kind.NEGATION, Kind.CONJUNCTION, Kind.STRUCTURE):
                    break
                if following.kind is Kind.PREPOSITION and following.words != "of":
                    break
                if following.kind is Kind.COMMA and after_verb:
                    break
            if target is None and (after_verb or i == len(self.tokens) - 1):
                target = self._backward(i)
            if target is not None:
                for mention in self.at[target]:
                    mention.severity |= set(token.value)

    # Comparisons

    def comparisons(self, last_targets: frozenset[str]) -> set[Comparison]:
        """What this sentence compares; "these are unchanged" speaks of `last_targets`, those of the sentence before."""
        found: set[Comparison] = set()
        for i, token in enumerate(self.tokens):
            if token.kind is Kind.COMPARISON and not (token.negated and token.value != "same"):
                targets = self._compared(i)
                found.add(Comparison(targets if targets else last_targets if i > 0 else frozenset(), token.value))
            elif token.resolved and i in self.at:
                found.add(Comparison(frozenset(m.entity for m in self.at[i]), "resolved"))
            elif token.kind is Kind.OTHER and token.words in ("increased",) and self._increased(i):
                found.add(Comparison(self._compared(i), "worse"))
        if any(comparison.direction != "prior" for comparison in found):
            found = {comparison for comparison in found if comparison.direction != "prior"}
        elif len(found) > 1:
            found = {Comparison(frozenset().union(*(c.targets for c in found)), "prior")}
        return found

    def _increased(self, i: int) -> bool:
        return False

    def _compared(self, i: int) -> frozenset[str]:
        """The entities (present) or structures that the comparison at `i` is about."""
        for j in range(i + 1, len(self.tokens)):
            keys = self._keys(j)
            if keys:
                return keys
            kind = self.tokens[j].kind
            if kind in (Kind.VERB, Kind.STOP, Kind.NEGATION, Kind.CONJUNCTION, Kind.COMMA):
                break
            if kind is Kind.PREPOSITION and self.tokens[j].words not in ("of", "in"):
                break
        keys = frozenset()
        for j in range(i - 1, -1, -1):
            kind = self.tokens[j].kind
            if kind is Kind.STOP and self.tokens[j].words not in ("also",) and keys:
                break
            if kind is Kind.NEGATION and keys:
                break
            keys |= self._keys(j)
        return keys

    def _keys(self, j: int) -> frozenset[str]:
        if j in self.at:
            present = frozenset(m.entity for m in self.at[j] if not m.absent)
            if present:
                return present
        if j in self.structures:
            return frozenset(self.structures[j])
        return frozenset()


_PLAIN = frozenset("acute active focal significant definite radiographic visible obvious new any suspicious other".split())
