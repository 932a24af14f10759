"""A report to its findings: what is stated present or absent, where, how severe, and compared with what."""

from __future__ import annotations

from dataclasses import dataclass

from judges.findings.sentence import Comparison, Mention, Sentence
from judges.findings.tokens import sentences, tokenise


@dataclass(slots=True)
class Finding:
    """All mentions of one entity. Present wins over absent: "no effusion ... a small left effusion" is an effusion."""

    present: bool
    uncertain: bool = False
    sides: frozenset[str] = frozenset()
    zones: frozenset[str] = frozenset()
    severity: frozenset[str] = frozenset()
    signs: frozenset[str] = frozenset()
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
        found = Sentence(tokenise(words), number)
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
            signs=frozenset().union(*(m.signs for m in used)),
            sentences=frozenset(m.sentence for m in used),
        )
    return findings
