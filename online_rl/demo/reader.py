"""A second reader: turns reports in the demo's phrases back into labels, as the inverse of `phrases`.

It shares no code with `judges/findings`, so the two check each other. It knows whole sentences only; one that is none
of the demo's phrases is returned as unknown and says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from online_rl.demo import phrases
from online_rl.demo.pathology import GRADES, SIDES, SIZES, Finding

_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE = re.compile(r"(?<=\.)\s+")


@dataclass(frozen=True)
class Reading:
    """What one report says.

    findings     what it calls present, in the order of its sentences, each name once
    comparisons  how many sentences compare with a prior study
    unknown      sentences that are none of the demo's phrases
    sentences    how many sentences it has
    """

    findings: tuple[Finding, ...]
    comparisons: int
    unknown: tuple[str, ...]
    sentences: int

    @property
    def present(self) -> frozenset[str]:
        """The names of the findings that it calls present."""
        return frozenset(finding.name for finding in self.findings)


def read_report(text: str) -> Reading:
    """Read a report sentence by sentence. If a name is stated twice, the first statement counts."""
    findings: dict[str, Finding] = {}
    unknown: list[str] = []
    comparisons = 0
    sentences = split_sentences(text)
    for sentence in sentences:
        plain = sentence.removesuffix(".")
        finding = read_finding(plain)
        if finding:
            findings.setdefault(finding.name, finding)
        elif f"{plain}." in phrases.COMPARISONS:
            comparisons += 1
        elif plain not in phrases.NORMAL:
            unknown.append(sentence)
    return Reading(tuple(findings.values()), comparisons, tuple(unknown), len(sentences))


def read_finding(sentence: str) -> Finding | None:
    """The finding that a sentence without its full stop states, None if it states none in the demo's words."""
    for name, side, pattern in _patterns():
        match = pattern.fullmatch(sentence)
        if match:
            return _finding(name, side, {key: text.lower() for key, text in match.groupdict().items()})
    return None


def split_sentences(text: str) -> list[str]:
    """The sentences with their full stops."""
    return [sentence for sentence in _SENTENCE.split(text.strip()) if sentence]


@cache
def _patterns() -> tuple[tuple[str, str | None, re.Pattern[str]], ...]:
    """Name, side if the phrase fixes it, and pattern of every phrase that states a finding."""
    return tuple(
        (key.split("/")[0], "bilateral" if key.endswith("/bilateral") else None, re.compile(_expression(phrase)))
        for key, options in phrases.POSITIVE.items()
        for phrase in options
    )


def _expression(phrase: str) -> str:
    """The phrase as a regular expression; a slot that comes twice must be filled alike."""
    return "".join(_pieces(phrase))


def _pieces(phrase: str) -> Iterator[str]:
    seen: set[str] = set()
    end = 0
    for slot in _SLOT.finditer(phrase):
        yield re.escape(phrase[end : slot.start()])
        name, end = slot[1], slot.end()
        group = name.lower()
        if group in seen:
            yield f"(?i:(?P={group}))"
        else:
            yield f"(?P<{group}>{_FILLS[name]})"
        seen.add(group)
    yield re.escape(phrase[end:])


def _finding(name: str, side: str | None, slots: dict[str, str]) -> Finding:
    place: dict[str, Any] = _PLACES[slots["place"]] if "place" in slots else {}
    severity = slots.get("sev") or _ADVERBS.get(slots.get("sevly", ""))
    return Finding(
        name,
        side=side or slots.get("side") or place.get("side"),
        zone="lower" if name == "atelectasis" else slots.get("zone") or place.get("zone"),
        severity=severity,
        size_mm=int(slots["mm"]) if "mm" in slots else None,
    )


_PLACES = {
    place.format(side=side): {"side": side, "zone": zone}
    for zone, options in phrases.PLACES.items()
    for place in options
    for side in SIDES
}
_ADVERBS = {adverb: grade for grade, adverb in phrases.ADVERB.items()}
_SEVERITIES = (*SIZES, *(grade for grade in GRADES if grade not in SIZES))
_FILLS = {
    "sev": "|".join(_SEVERITIES),
    "Sev": "|".join(word.capitalize() for word in _SEVERITIES),
    "sevly": "|".join(_ADVERBS),
    "side": "|".join(SIDES),
    "Side": "|".join(side.capitalize() for side in SIDES),
    "zone": "|".join(phrases.PLACES),
    "place": "|".join(sorted(_PLACES, key=len, reverse=True)),
    "texture": "|".join({word: None for words in phrases.TEXTURE.values() for word in words}),
    "mm": r"\d+",
}
