"""Draws the findings of lungs and pleura: each function changes the air, vessels or attenuation of a `Scene`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from online_rl.demo import anatomy
from online_rl.demo.anatomy import HILUM, MIDLINE, MM_PER_UNIT
from online_rl.demo.pathology import SIDES, Finding, scale_of
from online_rl.demo.scene import Scene, clouds, fill, sigmoid, stroke

ZONE_Y = {"upper": 66.0, "mid": 112.0, "lower": 158.0}


def effusion(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Fluid that fills the costophrenic angle first and climbs along the chest wall as a meniscus."""
    size = _grade(finding)
    for side in finding.sides:
        out = scene.side(side)
        angle = anatomy.diaphragm(scene.body, side) + 25
        height, climb = (40.0, 78.0, 130.0)[size] + rng.uniform(-4, 4), (27.0, 27.0, 22.0)[size]
        surface = angle - height + climb * (1 - np.clip(out / 92, 0, 1) ** 2.6)
        fluid = sigmoid((scene.y - surface) / 2.6) * sigmoid(out / 2)
        scene.air *= 1 - 0.985 * fluid
        scene.vessels *= 1 - fluid


def pneumothorax(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """The lung falls towards its hilum: a black rim without markings outside a thin pleural line."""
    size = _grade(finding)
    (side,) = finding.sides
    outline = anatomy.lung(scene.body, side)
    out = np.abs(outline[:, 0] - MIDLINE)
    base = anatomy.diaphragm(scene.body, side) + 25
    down = np.clip((outline[:, 1] - 30) / (base - 30), 0, 1)
    share = (0.13, 0.31, 0.54)[size] * (1 - (0.85, 0.5, 0.15)[size] * down**1.5)  # of the lung's width
    apex = (30.0, 50.0, 66.0)[size]
    edge = np.maximum(out - share * np.maximum(out - 16, 0), 8.0)
    sign = 1.0 if side == "left" else -1.0
    fallen = np.stack([MIDLINE + sign * edge, outline[:, 1] + apex * (1 - down) ** 2.6], axis=1)
    lung = fill(scene.body, [fallen])
    cavity = scene.cavity_of(side)
    free = np.clip(cavity - lung, 0, 1)
    scene.vessels *= 1 - free
    scene.air *= 1 - (0.04, 0.14, 0.30)[size] * cavity * lung  # the fallen lung holds less air
    scene.added -= 0.075 * free
    visible = fallen[: int(len(fallen) * 0.60)]
    scene.added += 0.20 * stroke(scene.body, [visible], [1.7]) * cavity


def consolidation(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """A cloudy patch where alveoli are filled; a severe one is dense and shows air bronchograms."""
    grade = _grade(finding)
    (side,) = finding.sides
    radius, density = (19.0, 25.0, 33.0)[grade], (0.60, 0.78, 0.95)[grade]
    cx = {"upper": 46.0, "mid": 57.0, "lower": 57.0}[finding.zone or "lower"] + rng.uniform(-4, 4)
    cy = ZONE_Y[finding.zone or "lower"] + rng.uniform(-5, 5)
    squared = np.square((scene.side(side) - cx) / (1.15 * radius)) + np.square((scene.y - cy) / radius)
    fleck = (1.0, 0.9, 0.55)[grade]
    holes = fleck * (0.40 * clouds(rng, 14) + 0.25 * clouds(rng, 34))
    patch = sigmoid((1 - squared - holes) * 3.0) * scene.cavity_of(side)
    patch *= squared < 4
    scene.air *= 1 - density * patch
    if grade == 2:  # bronchi stay black in a white lung
        scene.added -= 0.26 * _bronchi(scene, side, cx, cy) * patch


def edema(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Bat-wing haze around both hila; the periphery and the apices stay clear longest."""
    grade = _grade(finding)
    density, reach = (0.46, 0.64, 0.84)[grade], (25.0, 32.0, 41.0)[grade]
    texture = 1 + 0.17 * clouds(rng, 20) + 0.12 * clouds(rng, 44)
    base = np.clip((scene.y - 120) / 90, 0, 1) * (0.06, 0.12, 0.20)[grade]
    for side in SIDES:
        cx, cy = HILUM[side]
        squared = np.square((scene.side(side) - cx - 13) / reach) + np.square((scene.y - cy - 15) / (1.35 * reach))
        haze = density * np.exp(-0.8 * np.minimum(squared, 9) ** 1.4) * texture
        scene.air *= 1 - np.clip(haze + base, 0, 0.95) * scene.cavity_of(side)
    scene.vessels *= (1.3, 1.5, 1.6)[grade]


def atelectasis(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """Plate-like bands above a raised hemidiaphragm."""
    for side in finding.sides:
        dome = anatomy.diaphragm(scene.body, side, 7.0)
        bands = []
        for above, inner, outer in ((12, 36, 86), (24, 48, 88)):
            y, lift, slope = dome - above, rng.uniform(-4, 4), rng.uniform(-3, 8)
            points = [(inner, y + 3), ((inner + outer) / 2, y + lift), (outer, y + slope)]
            line = anatomy.smooth(points, closed=False)
            thickness = np.sin(np.linspace(0.35, 2.8, len(line))) * 2.6
            bands.append(anatomy.mirror(anatomy.ribbon(line, thickness), side))
        haze = np.square((scene.y - dome + 6) / 16) + np.square((scene.side(side) - 58) / 34)
        haze = np.exp(-np.minimum(haze, 20))
        density = np.clip(0.66 * fill(scene.body, bands, soft=True) + 0.34 * haze, 0, 0.9)
        scene.air *= 1 - density * scene.cavity_of(side)


def nodule(scene: Scene, finding: Finding, rng: np.random.Generator) -> None:
    """A round, sharply bordered shadow of the stated diameter."""
    (side,) = finding.sides
    radius = (finding.size_mm or 20) / 2 / MM_PER_UNIT
    cx, cy = rng.uniform(48, 68), ZONE_Y[finding.zone or "mid"] + rng.uniform(-9, 9)
    distance = np.hypot(scene.side(side) - cx, scene.y - cy) * (1 + 0.05 * clouds(rng, 30))
    disc = scene.cavity_of(side) * sigmoid((radius - distance) * 1.7)
    scene.air *= 1 - 0.9 * disc
    scene.added += 0.16 * disc


def _grade(finding: Finding) -> int:
    """0, 1 or 2 for small or mild, moderate, large or severe."""
    scale = scale_of(finding.name)
    return scale.index(finding.severity or scale[0])


def _bronchi(scene: Scene, side: str, cx: float, cy: float) -> np.ndarray:
    """Three air-filled branches that fan out through (cx, cy) away from the hilum."""
    centre = np.array([cx, cy])
    away = centre - HILUM[side]
    away /= np.linalg.norm(away) + 1e-6
    across = np.array([-away[1], away[0]])
    tips = [centre + 12 * away + turn * 9 * across for turn in (-1, 0.1, 1.1)]
    fan = [np.stack([centre - 20 * away, centre - 4 * away, tip]) for tip in tips]
    return stroke(scene.body, [anatomy.mirror(line, side) for line in fan], [2.2, 1.8, 1.6])


DRAW: dict[str, Callable[[Scene, Finding, np.random.Generator], None]] = {
    "effusion": effusion,
    "pneumothorax": pneumothorax,
    "consolidation": consolidation,
    "edema": edema,
    "atelectasis": atelectasis,
    "nodule": nodule,
}
