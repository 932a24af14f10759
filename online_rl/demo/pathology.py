"""What can be wrong in the demo world: findings, how often they occur, and how they evolve between two studies."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

SIDES = ("left", "right")
ZONES = ("upper", "mid", "lower")
SIZES = ("small", "moderate", "large")
GRADES = ("mild", "moderate", "severe")
LUNG_FINDINGS = ("effusion", "pneumothorax", "consolidation", "edema", "cardiomegaly", "atelectasis", "nodule")
DEVICES = ("endotracheal_tube", "central_line", "pacemaker", "sternotomy_wires", "nasogastric_tube")

# How often each finding is drawn for a patient who is not normal.
FREQUENCY = {
    "effusion": 0.22,
    "consolidation": 0.18,
    "cardiomegaly": 0.17,
    "edema": 0.12,
    "atelectasis": 0.11,
    "pneumothorax": 0.10,
    "nodule": 0.10,
}
NORMAL_RATE = 0.40
# Findings that hide one another on the same side; the second one drawn is left out.
EXCLUDES = {
    ("effusion", "atelectasis"),
    ("pneumothorax", "consolidation"),
    ("pneumothorax", "effusion"),
    ("pneumothorax", "edema"),
    ("edema", "consolidation"),
    ("pneumothorax", "atelectasis"),
    ("edema", "nodule"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that the image shows and the report says.

    side      "left", "right", "bilateral", or None where the finding has no side
    zone      "upper", "mid", "lower", or None
    severity  one of SIZES (effusion, pneumothorax), one of GRADES (others), or None
    size_mm   diameter of a nodule
    """

    name: str
    side: str | None = None
    zone: str | None = None
    severity: str | None = None
    size_mm: int | None = None

    def label(self) -> dict[str, Any]:
        """The row's `labels` entry: only what is set."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides it is on, one by one."""
        return SIDES if self.side == "bilateral" else (self.side,) if self.side else ()


def scale_of(name: str) -> tuple[str, ...]:
    """The words for how bad it is, from best to worst."""
    return SIZES if name in ("effusion", "pneumothorax") else GRADES


def draw_finding(name: str, rng: np.random.Generator) -> Finding:
    """A finding of that name with side, zone and severity drawn from the world's frequencies."""
    side = SIDES[rng.integers(2)]
    if name == "effusion":
        if rng.random() < 0.2:
            return Finding(name, "bilateral", severity=_pick(rng, SIZES, (0.6, 0.4, 0.0)))
        return Finding(name, side, severity=_pick(rng, SIZES, (0.4, 0.35, 0.25)))
    if name == "pneumothorax":
        return Finding(name, side, severity=_pick(rng, SIZES, (0.3, 0.4, 0.3)))
    if name == "consolidation":
        return Finding(name, side, _pick(rng, ZONES, (0.3, 0.3, 0.4)), _pick(rng, GRADES, (0.3, 0.4, 0.3)))
    if name == "edema":
        return Finding(name, severity=_pick(rng, GRADES, (0.35, 0.35, 0.3)))
    if name == "cardiomegaly":
        return Finding(name, severity=_pick(rng, GRADES, (0.4, 0.35, 0.25)))
    if name == "atelectasis":
        return Finding(name, "bilateral" if rng.random() < 0.25 else side, "lower")
    if name == "nodule":
        return Finding(name, side, _pick(rng, ZONES, (0.4, 0.35, 0.25)), size_mm=int(rng.integers(9, 16)) * 2)
    if name in ("central_line", "pacemaker"):
        usual = "right" if name == "central_line" else "left"
        return Finding(name, usual if rng.random() < 0.7 else side)
    return Finding(name)


def draw_findings(rng: np.random.Generator) -> tuple[Finding, ...]:
    """The findings of one patient's first study: none in about a third, else one to three, plus devices."""
    found: list[Finding] = []
    if rng.random() >= NORMAL_RATE:
        names = rng.choice(
            list(FREQUENCY), size=_pick(rng, (1, 2, 3), (0.55, 0.33, 0.12)), replace=False, p=list(FREQUENCY.values())
        )
        for name in names:
            candidate = draw_finding(str(name), rng)
            if all(compatible(candidate, other) for other in found):
                found.append(candidate)
    found += _draw_devices(found, rng)
    return tuple(found[:4])


def compatible(one: Finding, other: Finding) -> bool:
    """Whether both can be seen in the same image."""
    if one.name == other.name:
        return False
    if (one.name, other.name) in EXCLUDES or (other.name, one.name) in EXCLUDES:
        return not (set(one.sides or SIDES) & set(other.sides or SIDES))
    for fluid, lesion in ((one, other), (other, one)):  # a lesion under fluid cannot be seen
        if fluid.name == "effusion" and lesion.name in ("consolidation", "nodule"):
            covered = {"small": (), "moderate": ("lower",), "large": ("mid", "lower")}[fluid.severity or "small"]
            return not (set(fluid.sides) & set(lesion.sides) and lesion.zone in covered)
    if {one.name, other.name} == {"consolidation", "nodule"}:
        return one.side != other.side
    return True


def evolve(prior: tuple[Finding, ...], rng: np.random.Generator) -> tuple[Finding, ...]:
    """The findings of the same patient's next study: each grows, shrinks, resolves or stays, and new ones arrive."""
    found: list[Finding] = []
    for finding in prior:
        scale = scale_of(finding.name)
        if finding.name in ("sternotomy_wires", "pacemaker", "nodule"):
            found.append(finding)
        elif finding.severity is None:
            if rng.random() < 0.6:
                found.append(finding)
        else:
            grade = scale.index(finding.severity)
            step = int(_pick(rng, (-1, 0, 1), (0.35, 0.35, 0.3)))
            if finding.side == "bilateral":
                step = min(step, 1 - grade)  # two large effusions leave nothing to see
            if finding.name == "cardiomegaly" and rng.random() < 0.6:
                step = 0  # a heart seldom changes its size between two studies
            grade += step
            if grade < 0:
                continue  # resolved
            changed = replace(finding, severity=scale[min(grade, 2)])
            if all(compatible(changed, other) for other in found):
                found.append(changed)
    if rng.random() < (0.25 if not found else 0.12):
        arrival = draw_finding(str(rng.choice(list(FREQUENCY), p=list(FREQUENCY.values()))), rng)
        if all(compatible(arrival, other) for other in found):
            found.append(arrival)
    return tuple(found[:4])


def _draw_devices(found: list[Finding], rng: np.random.Generator) -> list[Finding]:
    names = {finding.name for finding in found}
    sick = bool(names & {"edema", "consolidation", "pneumothorax"})
    devices: list[Finding] = []
    if rng.random() < (0.26 if sick else 0.02):
        devices.append(draw_finding("endotracheal_tube", rng))
    if rng.random() < (0.45 if devices else 0.055):
        devices.append(draw_finding("nasogastric_tube", rng))
    if rng.random() < (0.16 if names else 0.04):
        devices.append(draw_finding("central_line", rng))
    for name in ("pacemaker", "sternotomy_wires"):
        if rng.random() < (0.2 if "cardiomegaly" in names else 0.05):
            devices.append(draw_finding(name, rng))
    return [devices[i] for i in sorted(rng.permutation(len(devices))[:2])]


def _pick(rng: np.random.Generator, values: tuple, weights: tuple) -> Any:
    return values[int(rng.choice(len(values), p=np.asarray(weights, float) / sum(weights)))]
