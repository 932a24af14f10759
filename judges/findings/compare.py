"""Two parsed reports to GREEN's counts (Ostmeier et al., Findings of EMNLP 2024)."""

from __future__ import annotations

from dataclasses import dataclass, field

from judges.findings.entities import IMPLIES, SAME_FINDING
from judges.findings.instances import Instance
from judges.findings.parse import Finding, Report
from judges.findings.sentence import Comparison

ERRORS = (
    "false_finding",  # (a) present in the candidate; absent or unmentioned in the reference
    "missing_finding",  # (b) present in the reference; absent or unmentioned in the candidate
    "wrong_location",  # (c) both present, side or zone contradict
    "wrong_severity",  # (d) both present, both graded, grades differ
    "false_comparison",  # (e) a comparison that the reference lacks
    "omitted_comparison",  # (f) a comparison of the reference that the candidate lacks
)

_PARTNER = {one: other for pair in SAME_FINDING for one, other in (pair, pair[::-1])}


@dataclass(slots=True)
class Comparative:
    """What was matched and what was wrong, by entity; `normal` counts the matches that both reports call absent."""

    matched: list[str] = field(default_factory=list)
    normal: int = 0
    errors: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in ERRORS})

    @property
    def significant_errors(self) -> int:
        return sum(map(len, self.errors.values()))

    def value(self, normal_weight: float = 1.0) -> float:
        """GREEN = matched / (matched + errors), 0 when nothing matches; matched normal ones count `normal_weight`."""
        matched = len(self.matched) - self.normal + normal_weight * self.normal
        return matched / (matched + self.significant_errors) if matched else 0.0


def compare(candidate: Report, reference: Report) -> Comparative:
    result = Comparative()
    paired = _present_pairs(candidate.findings, reference.findings)
    covered = set(paired.values())
    for entity, finding in reference.findings.items():
        if not finding.present:
            if _absence_agreed(entity, candidate.findings):
                result.matched.append(entity)
                result.normal += 1
        elif entity in paired:
            result.matched.append(entity)
            _compare_attributes(entity, candidate.findings[paired[entity]], finding, result)
            _compare_instances(entity, candidate.instances[paired[entity]], reference.instances[entity], result)
        elif not _told_by_a_sibling(entity, finding, reference.findings, paired):
            result.errors["missing_finding"].append(entity)
    for entity, finding in candidate.findings.items():
        if finding.present and entity not in covered:
            result.errors["false_finding"].append(entity)
    _compare_comparisons(candidate, reference, result)
    return result


def _present_pairs(candidate: dict[str, Finding], reference: dict[str, Finding]) -> dict[str, str]:
    """Reference entity to the candidate's entity for the same finding, both present, one to one.

    Same names first; what is left may pair by a wider or narrower word, or a sign with what explains it.
    """
    ours = {entity: finding for entity, finding in reference.items() if finding.present}
    theirs = {entity: finding for entity, finding in candidate.items() if finding.present}
    pairs = {entity: entity for entity in ours if entity in theirs}
    unpaired = [entity for entity in theirs if entity not in pairs]
    for entity, finding in ours.items():
        if entity in pairs or (entity in candidate and not candidate[entity].present):
            continue
        akin = {*finding.signs, _PARTNER.get(entity)}
        for other in unpaired:
            if other in akin or entity in theirs[other].signs:
                pairs[entity] = other
                unpaired.remove(other)
                break
    return pairs


def _told_by_a_sibling(entity: str, finding: Finding, reference: dict[str, Finding], paired: dict[str, str]) -> bool:
    """A doubtful reading ("atelectasis or infiltrate") is not missing when another one of its sentence is there."""
    return finding.uncertain and any(
        other != entity and reference[other].sentences & finding.sentences for other in paired
    )


def _absence_agreed(entity: str, candidate: dict[str, Finding]) -> bool:
    """Does the candidate, too, state the absence, outright or by implication, and nothing against it?"""
    own = candidate.get(entity)
    if own is not None:
        return not own.present
    narrower = IMPLIES.get(entity, frozenset())
    if any(key in candidate and candidate[key].present for key in narrower):
        return False
    absent = {key for key, finding in candidate.items() if not finding.present}
    if entity.endswith("_disease") and not narrower.isdisjoint(absent):
        return True
    return any(entity in IMPLIES.get(key, ()) for key in absent)


def _compare_attributes(entity: str, candidate: Finding, reference: Finding, result: Comparative) -> None:
    sides_differ = candidate.sides and reference.sides and candidate.sides != reference.sides
    zones_differ = candidate.zones and reference.zones and not candidate.zones & reference.zones
    if sides_differ or zones_differ:
        result.errors["wrong_location"].append(entity)
    if candidate.severity and reference.severity and not candidate.severity & reference.severity:
        result.errors["wrong_severity"].append(entity)


def _compare_instances(
    entity: str, candidate: tuple[Instance, ...], reference: tuple[Instance, ...], result: Comparative
) -> None:
    """Each instance needs one at its place in the other report, and the reference's one of its size there.

    What the merged findings have shown already is not counted twice.
    """
    if len(candidate) == len(reference) == 1 and candidate[0].size is None:
        return
    places, sizes = result.errors["wrong_location"], result.errors["wrong_severity"]
    if entity not in places and (_misplaced(candidate, reference) or _misplaced(reference, candidate)):
        places.append(entity)
    if entity not in sizes:
        for wanted in reference:
            there = [instance for instance in candidate if instance.at_the_place_of(wanted)]
            if there and not any(instance.as_large_as(wanted) for instance in there):
                sizes.append(entity)
                return


def _misplaced(ours: tuple[Instance, ...], theirs: tuple[Instance, ...]) -> bool:
    return any(not any(one.at_the_place_of(other) for other in theirs) for one in ours)


def _compare_comparisons(candidate: Report, reference: Report, result: Comparative) -> None:
    """Comparisons agree when direction and target do; those of a false or missing finding are counted with it."""
    left_over = sorted(candidate.comparisons, key=_order)
    for wanted in sorted(reference.comparisons, key=_order):
        same = wanted if wanted in left_over else next((c for c in left_over if _agree(c, wanted)), None)
        if same is not None:
            left_over.remove(same)
        elif not _within(wanted, result.errors["missing_finding"]):
            result.errors["omitted_comparison"].append(_name(wanted))
    for extra in left_over:
        if not _within(extra, result.errors["false_finding"]):
            result.errors["false_comparison"].append(_name(extra))


def _agree(one: Comparison, other: Comparison) -> bool:
    directions = {one.direction, other.direction}
    same_way = len(directions) == 1 or "prior" in directions
    return same_way and (not one.targets or not other.targets or bool(one.targets & other.targets))


def _within(comparison: Comparison, errors: list[str]) -> bool:
    return bool(comparison.targets) and comparison.targets <= set(errors)


def _order(comparison: Comparison) -> tuple[str, list[str]]:
    return comparison.direction, sorted(comparison.targets)


def _name(comparison: Comparison) -> str:
    return f"{comparison.direction}({', '.join(sorted(comparison.targets))})"
