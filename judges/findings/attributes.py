"""Side, zone, severity and size: which mention of a sentence each of them belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field

from judges.findings.entities import LOCATED, SIZED
from judges.findings.tokens import Kind, Token

_LINKS = {Kind.CONJUNCTION, Kind.COMMA, Kind.UNCERTAIN}
SPATIAL_BREAKS = {Kind.VERB, Kind.PREPOSITION, Kind.COMMA, Kind.STOP, Kind.NEGATION}
_RELATIVE = ("which", "also", "still")
_AWAY = ("above", "below", "from", "over", "to", "near")  # "4 cm above the carina"
_SIZE_ENDS = {Kind.VERB, Kind.STOP, Kind.NEGATION, Kind.COMMA, Kind.CONJUNCTION, Kind.PREPOSITION}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One word that places or sizes a mention: token `at`, in the `chunk` of its sentence that commas and "and" divide.

    `size` is in mm.
    """

    at: int
    chunk: int
    sides: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    severity: frozenset[str] = frozenset()
    size: float | None = None


@dataclass(slots=True)
class Mention:
    """One entity in one sentence."""

    entity: str
    absent: bool = False
    uncertain: bool = False
    sides: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    severity: frozenset[str] = frozenset()
    signs: frozenset[str] = frozenset()  # what it explains: the opacity that is "likely atelectasis"
    at: int = 0  # its token
    attributes: list[Attribute] = field(default_factory=list)


class _Places(dict):
    """Value of a SIDE_ZONE token -> its sides and zones."""

    def __missing__(self, value: str) -> tuple[frozenset[str], frozenset[str]]:
        self[value] = frozenset(value) & set("LR"), frozenset(value) & set("UMD")
        return self[value]


_PLACES = _Places()


class Attributes:
    """The tokens of a sentence, and at[i], the mentions that token i made, with what is said of them."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.kinds = {token.kind for token in tokens}
        self.at: dict[int, list[Mention]] = {}

    def attach(self) -> None:
        """Attach every side, zone, grade and size."""
        if Kind.SIDE_ZONE in self.kinds:
            self._locations()
        if Kind.SEVERITY in self.kinds:
            self._severities()
        if Kind.UNIT in self.kinds:
            self._sizes()

    def _kind(self, i: int) -> Kind:
        return self.tokens[i].kind if 0 <= i < len(self.tokens) else Kind.STOP

    def _locations(self) -> None:
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
            sides, zones = _PLACES[token.value]
            told = Attribute(i, self._chunk(i), sides, zones)
            for mention in self._linked(target, step):
                if mention.entity in LOCATED:
                    mention.sides |= sides
                    mention.zones |= zones
                    mention.attributes.append(told)

    def place_by_heading(self, place: str) -> None:
        for mention in (m for mentions in self.at.values() for m in mentions if m.entity in LOCATED):
            if not mention.sides:
                mention.sides |= {c for c in place if c in "LR"}
                if not mention.zones:
                    mention.zones |= {c for c in place if c in "UMD"}

    def _forward(self, i: int) -> int | None:
        """The mention that the adjective at `i` stands before."""
        for j in range(i + 1, len(self.tokens)):
            if j in self.at:
                return j
            kind = self.tokens[j].kind
            if kind in SPATIAL_BREAKS or kind is Kind.UNCERTAIN:
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
                grades = frozenset(token.value)
                for mention in self.at[target]:
                    mention.severity |= grades
                    mention.attributes.append(Attribute(i, self._chunk(i), severity=grades))

    def _sizes(self) -> None:
        """ "A 12 mm nodule", "measuring 1.2 cm": attach sizes to what is measured, and not how far a tip is from it."""
        for i, token in enumerate(self.tokens):
            number = self.tokens[i - 1].words if i else ""
            if token.kind is not Kind.UNIT or not number[:1].isdigit():
                continue
            if any(following.words in _AWAY for following in self.tokens[i + 1 : i + 2]):
                continue
            size = float(number) * (10.0 if token.words.startswith("c") else 1.0)
            after = next(
                (j for j in range(i + 1, len(self.tokens)) if j in self.at or self._kind(j) in _SIZE_ENDS), None
            )
            target = after if after in self.at else self._backward(i)
            for mention in self.at.get(target, ()) if target is not None else ():
                if mention.entity in SIZED:
                    mention.attributes.append(Attribute(i, self._chunk(i), size=size))

    def _chunk(self, i: int) -> int:
        return sum(token.kind in (Kind.COMMA, Kind.CONJUNCTION) for token in self.tokens[:i])

    def _ends_phrase(self, i: int) -> bool:
        while self._kind(i + 1) is Kind.SIDE_ZONE:  # "effusion: small left"
            i += 1
        return self._kind(i + 1) in (Kind.STOP, Kind.COMMA, Kind.CONJUNCTION, Kind.PREPOSITION)
