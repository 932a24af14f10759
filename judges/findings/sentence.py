"""One sentence to mentions: structures paired with predicates, then side, zone, severity and comparison attached."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from judges.findings.anatomy import is_normal_anatomy
from judges.findings.attributes import SPATIAL_BREAKS, Attributes, Mention
from judges.findings.entities import DEVICES, LOCATED, NORMAL_MEANS, PREDICATE_MEANS, REFINED_BY, SIGNS, word_set
from judges.findings.scopes import leads_on, mark
from judges.findings.tokens import Kind, Token
from judges.findings.triggers import TEMPORAL

_SUBJECTS = frozenset({Kind.STRUCTURE, Kind.ENTITY, Kind.ABNORMALITY})
_ENDS_PHRASE = SPATIAL_BREAKS | {Kind.CONJUNCTION}
_COLLAPSE = word_set("collapse|collapsed")
_BACK_REFERENCES = ("this", "these", "it", "they", "appearance", "overall appearance", "finding")
_EXPLAINS = word_set(
    "consistent with|c / w|compatible with|in keeping with|represent|representing|reflect|reflecting|indicate|"
    "indicating"
)
_CONTRASTS = ("but", "however", "although", "though")
_BIGGER, _BIG = ("larger", "bigger"), Token(Kind.PREDICATE, "big", "larger")
_PLAIN = word_set("acute|active|focal|significant|definite|radiographic|visible|obvious|any|suspicious|other")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A statement against an earlier study: `direction` is same, better, worse, new, resolved, or prior (untold)."""

    targets: frozenset[str]
    direction: str


class Sentence(Attributes):
    """The mentions of one sentence."""

    def __init__(self, tokens: list[Token], place: str = "") -> None:
        super().__init__(tokens)
        self.structures: dict[int, tuple[str, ...]] = {}  # structures without a predicate, for comparisons
        mark(tokens, self.kinds)
        self._entities()
        if Kind.STRUCTURE in self.kinds or Kind.ABNORMALITY in self.kinds:
            self._predicates()
        if self.at:
            if Kind.PREDICATE in self.kinds:
                self._normal_anatomy()
            self.attach()
            self._explained_signs()
            if place:
                self.place_by_heading(place)
        self.mentions = list({id(m): m for index in sorted(self.at) for m in self.at[index]}.values())
        stated = {m.entity for m in self.mentions if not m.absent}
        self.targets = frozenset(stated or {key for keys in self.structures.values() for key in keys})
        self.compared = self._comparisons()
        self.refers_back = any(token.words in _BACK_REFERENCES for token in tokens[:3])

    # Findings

    def _add(self, i: int, entity: str, absent: bool) -> None:
        token = self.tokens[i]
        doubtful = token.uncertain or token.value == "borderline"
        mention = Mention(entity, absent, doubtful and not absent, at=i)
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
            before = [t.words for t in self.tokens[max(i - 4, 0) : i] if t.kind not in SPATIAL_BREAKS]
            if words.intersection(" ".join(before).split()):
                return other
        if entity == "atelectasis" and self.tokens[i].words in _COLLAPSE and self._vertebral(i):
            return "compression_fracture"
        return entity

    def _vertebral(self, i: int) -> bool:
        """ "Collapse of the T12 vertebral body", "vertebral collapse", "the T12 vertebra has collapsed"."""
        before = next((t for t in reversed(self.tokens[:i]) if t.kind is not Kind.VERB), None)
        if before is not None and (before.value == "spine" or before.words == "vertebral"):
            return True
        after = self.tokens[i + 1 : i + 8]
        if not after or after[0].words != "of":
            return False
        phrase = list(itertools.takewhile(lambda t: t.kind not in _ENDS_PHRASE, after[1:]))
        thoracic = any(t.words == "t" and number.words.isdigit() for t, number in itertools.pairwise(phrase))
        return thoracic or any(t.value == "spine" for t in phrase)

    def _predicates(self) -> None:
        """Pair structures with what is said of them: "heart is enlarged", "normal heart", "no bony abnormality"."""
        pending: list[int] = []  # structures that wait for a predicate
        before: Token | None = None  # a predicate that waits for structures
        subject: list[int] = []  # the last structures that a verb followed: "lungs are low in volume but clear"
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
                subject = pending or subject
            elif kind is Kind.ENTITY:
                before, entity_since = None, True
                if verb_since:
                    pending = []
            elif kind is Kind.STOP:
                pending, before, verb_since = [], None, False
            elif kind is Kind.COMPARISON and token.value == "worse" and token.words in _BIGGER and verb_since:
                for j in pending:
                    self._state(_BIG, i, j)
            elif kind is Kind.PREDICATE:
                follows = self._structure_follows(i)
                about = pending if verb_since or not follows else []
                if not about and not follows and self._continues(i):
                    about = subject
                if about:
                    for j in about:
                        self._state(token, i, j)
                    if token.value == "normal":
                        self._deny_congestion(about[0], i)
                    pending, before = [], None
                else:
                    pending, before, before_at = [], token, i
            elif kind is Kind.ABNORMALITY and token.negated:
                about = [] if entity_since or token.value else pending or subject
                if before is not None and before.value == "normal":
                    about = []
                for j in about:
                    for key in self._normal_means(j):
                        self._add(i, key, True)
                if not about and (token.value or not self._has_words_before(i)):
                    self._add(i, token.value or "acute_disease", True)
                pending = []

    def _continues(self, i: int) -> bool:
        return any(t.kind is Kind.CONJUNCTION or t.words in _CONTRASTS for t in self.tokens[max(i - 2, 0) : i])

    def _deny_congestion(self, start: int, end: int) -> None:
        """ "Heart size and pulmonary vascular engorgement appear within limits of normal" denies the engorgement."""
        for j in range(start, end):
            for mention in self.at.get(j, ()):
                if mention.entity == "congestion" and self.tokens[j].kind is Kind.ENTITY:
                    mention.absent = True

    def _normal_anatomy(self) -> None:
        for i in self.at:
            if is_normal_anatomy(self.tokens, i):
                for mention in self.at[i]:
                    mention.absent, mention.uncertain = True, False

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
            sides = {c for c in self.tokens[i - 1].value if c in "LR"} if self._kind(i - 1) is Kind.SIDE_ZONE else set()
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

    def _explained_signs(self) -> None:
        """Let what explains a sign stand for it, with the sign's place and severity if it has none of its own."""
        for i in sorted(self.at):
            for sign in [m for m in self.at[i] if m.entity in SIGNS and not m.absent]:
                explaining = self._explanations(i, sign)
                for mention in explaining:
                    mention.signs |= {sign.entity}
                    if mention.entity in LOCATED and not mention.sides and not mention.zones:
                        mention.sides |= sign.sides
                        mention.zones |= sign.zones
                    if not mention.attributes:
                        mention.attributes += sign.attributes
                    mention.severity = mention.severity or sign.severity
                if explaining:
                    self.at[i] = [m for m in self.at[i] if m is not sign] + explaining

    def _explanations(self, i: int, sign: Mention) -> list[Mention]:
        if sign.entity == "blunting":
            return [m for j in self.at for m in self.at[j] if m.entity == "effusion" and not m.absent]
        found: list[Mention] = []
        cue = False
        for j in range(i + 1, len(self.tokens)):
            token = self.tokens[j]
            if token.kind is Kind.UNCERTAIN or token.words in _EXPLAINS or leads_on(self.tokens, j):
                cue = True
            elif token.words in ("and", "&", "with", "without") or (token.kind is Kind.STOP and token.words != "which"):
                break
            elif cue:
                found += [m for m in self.at.get(j, ()) if not m.absent and m.entity != sign.entity]
        return found

    # Comparisons

    def _comparisons(self) -> list[Comparison]:
        found: list[Comparison] = []
        for i, token in enumerate(self.tokens):
            if token.kind is Kind.COMPARISON and not (token.negated and token.value != "same"):
                found.append(Comparison(self._compared(i), token.value))
            elif i in self.at and (token.resolved or (token.kind is Kind.ABSENT and token.value in DEVICES)):
                found.append(Comparison(frozenset(m.entity for m in self.at[i]), "resolved"))
        return found

    def _compared(self, i: int) -> frozenset[str]:
        """The entities (present) or structures that the comparison at `i` is about."""
        structure: frozenset[str] = frozenset()
        keys: frozenset[str] = frozenset()
        for j in range(i + 1, len(self.tokens)):
            keys = self._keys(j)
            if keys and j in self.at:
                return keys
            structure = structure or keys
            kind = self.tokens[j].kind
            if kind in (Kind.VERB, Kind.STOP, Kind.NEGATION, Kind.CONJUNCTION, Kind.COMMA):
                break
            if kind is Kind.PREPOSITION and self.tokens[j].words not in ("of", "in"):
                break
        if structure:
            return structure
        for j in range(i - 1, -1, -1):
            token = self.tokens[j]
            if keys and self._ends_comparison(j):
                break
            if keys and (token.kind is Kind.NEGATION or (token.kind is Kind.STOP and token.words != "also")):
                break
            keys |= self._keys(j)
        return keys

    def _ends_comparison(self, j: int) -> bool:
        """Does the comma or "and" at `j` end a comparison of its own: "edema has improved, effusions persist"?"""
        if self.tokens[j].kind is Kind.CONJUNCTION:
            return _compares(self.tokens[j - 1])
        if self.tokens[j].kind is not Kind.COMMA:
            return False
        start = next((k for k in range(j - 1, -1, -1) if self.tokens[k].kind is Kind.COMMA), 0)
        return any(_compares(token) for token in self.tokens[start:j])

    def _keys(self, j: int) -> frozenset[str]:
        if j in self.at:
            present = frozenset(m.entity for m in self.at[j] if not m.absent)
            if present:
                return present
        if j in self.structures:
            return frozenset(self.structures[j])
        return frozenset()


def _compares(token: Token) -> bool:
    return token.kind is Kind.COMPARISON and token.value in TEMPORAL


@dataclass(frozen=True, slots=True)
class Reading:
    """What one statement says, and whether its comparisons may speak of the statement before."""

    mentions: tuple[Mention, ...]
    targets: frozenset[str]
    compared: tuple[Comparison, ...]
    refers_back: bool


def read(tokens: list[Token], place: str = "") -> Reading:
    """Read one statement; `place` holds the sides and zones that its heading gives."""
    sentence = Sentence(tokens, place)
    return Reading(tuple(sentence.mentions), sentence.targets, tuple(sentence.compared), sentence.refers_back)


def comparisons_of(sentence: Reading, last_targets: frozenset[str]) -> set[Comparison]:
    """What a sentence compares; "these are unchanged" speaks of `last_targets`, those of the sentence before."""
    targets = last_targets if sentence.refers_back else frozenset()
    found = {Comparison(each.targets or targets, each.direction) for each in sentence.compared}
    if any(comparison.direction != "prior" for comparison in found):
        return {comparison for comparison in found if comparison.direction != "prior"}
    if len(found) > 1:
        return {Comparison(frozenset().union(*(each.targets for each in found)), "prior")}
    return found
