"""One sentence to mentions: structures paired with predicates, then side, zone, severity and comparison attached."""

from __future__ import annotations

from dataclasses import dataclass, field

from judges.findings.entities import LOCATED, NORMAL_MEANS, PREDICATE_MEANS, REFINED_BY, SIGNS, word_set
from judges.findings.scopes import leads_on, mark
from judges.findings.tokens import Kind, Token

_LINKS = {Kind.CONJUNCTION, Kind.COMMA, Kind.UNCERTAIN}
_SPATIAL_BREAKS = {Kind.VERB, Kind.PREPOSITION, Kind.COMMA, Kind.STOP, Kind.NEGATION}
_SUBJECTS = frozenset({Kind.STRUCTURE, Kind.ENTITY, Kind.ABNORMALITY})
_BACK_REFERENCES = ("this", "these", "it", "they", "appearance", "overall appearance", "finding")
_EXPLAINS = word_set(
    "consistent with|compatible with|in keeping with|represent|representing|reflect|reflecting|indicate|indicating"
)
_CONTRASTS = ("but", "however", "although", "though")
_RELATIVE = ("which", "also", "still")
_PLAIN = word_set("acute|active|focal|significant|definite|radiographic|visible|obvious|any|suspicious|other")


@dataclass(slots=True)
class Mention:
    """One entity in one sentence."""

    entity: str
    absent: bool = False
    uncertain: bool = False
    sides: set[str] = field(default_factory=set)
    zones: set[str] = field(default_factory=set)
    severity: set[str] = field(default_factory=set)
    signs: set[str] = field(default_factory=set)  # what it explains: the opacity that is "likely atelectasis"
    sentence: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A statement against an earlier study: `direction` is same, better, worse, new, resolved, or prior (untold)."""

    targets: frozenset[str]
    direction: str


class Sentence:
    """The mentions of one sentence. `at[i]` is the mention that token i made, if any."""

    def __init__(self, tokens: list[Token], number: int) -> None:
        self.tokens, self.number = tokens, number
        self.at: dict[int, list[Mention]] = {}
        self.structures: dict[int, tuple[str, ...]] = {}  # structures without a predicate, for comparisons
        kinds = {token.kind for token in tokens}
        self.kinds = kinds
        mark(tokens)
        self._entities()
        if Kind.STRUCTURE in kinds or Kind.ABNORMALITY in kinds:
            self._predicates()
        if self.at:
            self._locations()
            self._severities()
            self._explained_signs()
        self.mentions = list({id(m): m for index in sorted(self.at) for m in self.at[index]}.values())
        stated = {m.entity for m in self.mentions if not m.absent}
        self.targets = frozenset(stated or {key for keys in self.structures.values() for key in keys})

    # Findings

    def _add(self, i: int, entity: str, absent: bool) -> None:
        token = self.tokens[i]
        doubtful = token.uncertain or token.value == "borderline"
        mention = Mention(entity, absent, doubtful and not absent, sentence=self.number)
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

    # Attributes

    def _kind(self, i: int) -> Kind:
        return self.tokens[i].kind if 0 <= i < len(self.tokens) else Kind.STOP

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
            target: int | None
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
            if kind is Kind.CONJUNCTION and self._kind(j + 1) not in (Kind.SIDE_ZONE, Kind.SEVERITY):
                return None
        return None

    def _backward(self, i: int) -> int | None:
        for j in range(i - 1, -1, -1):
            if j in self.at:
                return j
            token = self.tokens[j]
            if token.kind is Kind.NEGATION or (token.kind is Kind.STOP and token.words not in _RELATIVE):
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
                if following.kind in (Kind.VERB, Kind.STOP, Kind.NEGATION):
                    break
                if following.kind is Kind.CONJUNCTION and self._kind(j + 1) is not Kind.SEVERITY:
                    break
                if following.kind is Kind.PREPOSITION and following.words != "of":
                    break
                if following.kind is Kind.COMMA and after_verb:
                    break
            if target is None and self._ends_phrase(i):
                target = self._backward(i)
            if target is not None:
                for mention in self.at[target]:
                    mention.severity |= set(token.value)

    def _ends_phrase(self, i: int) -> bool:
        return self._kind(i + 1) in (Kind.STOP, Kind.COMMA, Kind.CONJUNCTION, Kind.PREPOSITION)

    def _explained_signs(self) -> None:
        """Let what explains a sign stand for it, with the sign's place and severity where it has none of its own."""
        for i in sorted(self.at):
            for sign in [m for m in self.at[i] if m.entity in SIGNS and not m.absent]:
                explaining = self._explanations(i, sign)
                for mention in explaining:
                    mention.signs.add(sign.entity)
                    if mention.entity in LOCATED and not mention.sides and not mention.zones:
                        mention.sides |= sign.sides
                        mention.zones |= sign.zones
                    mention.severity |= set() if mention.severity else sign.severity
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

    def comparisons(self, last_targets: frozenset[str]) -> set[Comparison]:
        """What this sentence compares; "these are unchanged" speaks of `last_targets`, those of the sentence before."""
        found: set[Comparison] = set()
        for i, token in enumerate(self.tokens):
            if token.kind is Kind.COMPARISON and not (token.negated and token.value != "same"):
                targets = self._compared(i)
                found.add(Comparison(targets or (last_targets if self._refers_back() else frozenset()), token.value))
            elif token.resolved and i in self.at:
                found.add(Comparison(frozenset(m.entity for m in self.at[i]), "resolved"))
        if any(comparison.direction != "prior" for comparison in found):
            found = {comparison for comparison in found if comparison.direction != "prior"}
        elif len(found) > 1:
            found = {Comparison(frozenset().union(*(c.targets for c in found)), "prior")}
        return found

    def _refers_back(self) -> bool:
        return any(token.words in _BACK_REFERENCES for token in self.tokens[:3])

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
            if keys and (token.kind is Kind.NEGATION or (token.kind is Kind.STOP and token.words != "also")):
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
