"""A report to its findings: what is stated present or absent, where, how severe, and compared with what."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from judges.findings.attributes import Mention
from judges.findings.instances import Instance, instances
from judges.findings.sentence import Comparison, Reading, comparisons_of, read
from judges.findings.statements import statements
from judges.findings.tokens import tokenise

_NONE: frozenset[str] = frozenset()
_LAID_OUT = re.compile(r"[\n\r:=|│¦?—→…]|\.\.|-\s|[\s]–\s")  # what lines, keys and cells are told by
_SENTENCE_END = re.compile(r"(?<=[^.\s][.!])\s+")


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
    instances: dict[str, tuple[Instance, ...]]  # of the findings that are present


def parse(text: str) -> Report:
    by_entity: dict[str, list[tuple[Mention, int]]] = {}
    comparisons: set[Comparison] = set()
    last_targets: frozenset[str] = frozenset()
    for number, sentence in enumerate(_readings(text)):
        for mention in sentence.mentions:
            by_entity.setdefault(mention.entity, []).append((mention, number))
        if sentence.compared:
            comparisons |= comparisons_of(sentence, last_targets)
        last_targets = sentence.targets or last_targets
    findings: dict[str, Finding] = {}
    told_apart: dict[str, tuple[Instance, ...]] = {}
    for entity, group in by_entity.items():
        used = [pair for pair in group if not pair[0].absent]
        findings[entity] = _merged(used or group, bool(used))
        if used:
            told_apart[entity] = instances(mention for mention, _ in used)
    return Report(findings, frozenset(comparisons), told_apart)


def _readings(text: str) -> Iterator[Reading]:
    if _LAID_OUT.search(text):
        for statement in statements(text):
            yield read(tokenise(statement.words), statement.place)
    else:  # prose: each sentence stands alone
        for sentence in _SENTENCE_END.split(text):
            yield from _read(sentence)


@functools.lru_cache(maxsize=8192)
def _read(prose: str) -> tuple[Reading, ...]:
    """Sentences, read. Reports share most of theirs: the candidates of a study, and what a clinic calls normal."""
    return tuple(read(tokenise(statement.words), statement.place) for statement in statements(prose))


def forget_statements() -> None:
    """Empty the cache of read statements, for measurements."""
    _read.cache_clear()


def _merged(group: list[tuple[Mention, int]], present: bool) -> Finding:
    if len(group) == 1:
        mention, number = group[0]
        places, told = (mention.sides, mention.zones), (mention.severity, mention.signs)
        return Finding(present, mention.uncertain, *places, *told, frozenset([number]))
    mentions = [mention for mention, _ in group]
    return Finding(
        present=present,
        uncertain=all(m.uncertain for m in mentions),
        sides=_NONE.union(*(m.sides for m in mentions)),
        zones=_NONE.union(*(m.zones for m in mentions)),
        severity=_NONE.union(*(m.severity for m in mentions)),
        signs=_NONE.union(*(m.signs for m in mentions)),
        sentences=frozenset(number for _, number in group),
    )
