"""The instances of one finding: "moderate right, small left effusion" is two effusions, each with its own size.

What is said of a mention comes in chunks that commas and "and" divide; a chunk with a place of its own is an instance.
Mentions of different sentences are one instance unless they contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from judges.findings.attributes import Attribute, Mention

_NONE: frozenset[str] = frozenset()
_NEAR_MM, _NEAR_SHARE = 2.0, 0.2  # sizes as near as this are the same


@dataclass(frozen=True, slots=True)
class Instance:
    """One occurrence of a finding: sides L R, zones U M D, grades 1 2 3, size in mm. Empty or None: not told."""

    sides: frozenset[str] = _NONE
    zones: frozenset[str] = _NONE
    severity: frozenset[str] = _NONE
    size: float | None = None

    def at_the_place_of(self, other: Instance) -> bool:
        return _agree(self.sides, other.sides) and _agree(self.zones, other.zones)

    def as_large_as(self, other: Instance) -> bool:
        return _agree(self.severity, other.severity) and _near(self.size, other.size)


def _agree(one: frozenset[str], other: frozenset[str]) -> bool:
    return not one or not other or not one.isdisjoint(other)


def _near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return True
    return abs(one - other) <= max(_NEAR_MM, _NEAR_SHARE * min(one, other))


def instances(mentions: Iterable[Mention]) -> tuple[Instance, ...]:
    """The instances that the mentions of one finding tell apart, in a fixed order."""
    found = {instance for mention in mentions for instance in _of_mention(mention)}
    if len(found) == 1:
        return tuple(found)
    merged: list[Instance] = []
    for instance in sorted(found, key=_specific_first):
        for i, other in enumerate(merged):
            if instance.at_the_place_of(other) and instance.as_large_as(other):
                merged[i] = _union(other, instance)
                break
        else:
            merged.append(instance)
    return tuple(merged)


def _of_mention(mention: Mention) -> list[Instance]:
    told = mention.attributes
    if len(mention.sides) < 2 and len(mention.zones) < 2 and sum(bool(a.severity or a.size) for a in told) < 2:
        size = next((attribute.size for attribute in told if attribute.size), None)
        return [Instance(mention.sides, mention.zones, mention.severity, size)]
    groups = _placed(_chunks(told))
    if not groups:  # told by another mention, such as the opacity that is atelectasis
        groups = [Instance(mention.sides, mention.zones, mention.severity)]
    if all(attribute.at < mention.at for attribute in told):  # "right and left lower lobe atelectasis"
        groups = [_lacking(group, Instance(zones=groups[-1].zones)) for group in groups]
    return [each for group in _shared(groups) for each in _by_side(group)]


def _chunks(attributes: list[Attribute]) -> list[Instance]:
    """What is said between commas and "and", one instance each, two when it names two sides or two grades."""
    chunks: list[Instance] = []
    number = -1
    for attribute in sorted(attributes, key=lambda a: a.at):
        new = Instance(attribute.sides, attribute.zones, attribute.severity, attribute.size)
        if attribute.chunk == number and not _both_tell(chunks[-1], new):
            chunks[-1] = _union(chunks[-1], new)
        else:
            chunks.append(new)
        number = attribute.chunk
    return chunks


def _placed(chunks: list[Instance]) -> list[Instance]:
    """Chunks with a place; a grade without one goes to the place before it, or to the one that follows."""
    groups: list[Instance] = []
    loose = Instance()
    for chunk in chunks:
        if chunk.sides or chunk.zones:
            groups.append(chunk if _both_tell(chunk, loose) else _union(chunk, loose))
            loose = Instance()
        elif groups and not _both_tell(groups[-1], chunk):
            every = [group for group in groups if group.severity or group.size] == []
            groups = [_union(g, chunk) if every or g is groups[-1] else g for g in groups]
        else:
            loose = _union(loose, chunk)
    return groups or ([loose] if loose != Instance() else [])


def _shared(groups: list[Instance]) -> list[Instance]:
    """Give each group what it shares: "small right and left", "right upper and lower", "bilateral, left larger"."""
    sides = frozenset().union(*(group.sides for group in groups if len(group.sides) == 1))
    whole = next((group for group in groups if len(group.sides) == 2 and group.sides == sides), None)
    if whole is not None:
        groups = [_lacking(group, whole) for group in groups if group is not whole]
    shared = groups[:1]
    for group in groups[1:]:
        before = shared[-1]
        side = group.sides or before.sides
        graded = group.severity or group.size
        shared.append(_lacking(replace(group, sides=side), Instance(severity=_NONE if graded else before.severity)))
    return shared


def _lacking(group: Instance, other: Instance) -> Instance:
    return Instance(
        group.sides or other.sides,
        group.zones or other.zones,
        group.severity or other.severity,
        group.size or other.size,
    )


def _by_side(group: Instance) -> list[Instance]:
    return [replace(group, sides=frozenset(side)) for side in group.sides] or [group]


def _both_tell(one: Instance, other: Instance) -> bool:
    """Do both name a side, a zone, a grade or a size?"""
    return bool(
        (one.sides and other.sides)
        or (one.zones and other.zones)
        or (one.severity and other.severity)
        or (one.size and other.size)
    )


def _union(one: Instance, other: Instance) -> Instance:
    """Both in one; where both tell, what they agree on."""
    return Instance(
        _common(one.sides, other.sides),
        _common(one.zones, other.zones),
        _common(one.severity, other.severity),
        one.size or other.size,
    )


def _common(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    return one & other or one | other


def _specific_first(instance: Instance) -> tuple:
    parts = (instance.sides, instance.zones, instance.severity)
    told = sum(map(bool, parts)) + (instance.size is not None)
    return -told, *("".join(sorted(part)) for part in parts), instance.size or 0.0
