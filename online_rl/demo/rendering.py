"""Draws a frontal chest X-ray of a body with findings.

The picture is made as a film is: `air` says how much of the path through each pixel is air, tissue that is not air
attenuates, bones and devices add to it, and a tone curve turns attenuation into grey. Borders vanish where two soft
tissues touch (the silhouette sign) without anything being drawn for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from online_rl.demo import anatomy, devices, lesions
from online_rl.demo.anatomy import MIDLINE, SIZE, Body
from online_rl.demo.pathology import DEVICES, LUNG_FINDINGS, SIDES, Finding
from online_rl.demo.scene import Scene, clouds, fill, sigmoid, stroke

HEART_RATIO = {"mild": 0.55, "moderate": 0.635, "severe": 0.73}  # cardiothoracic ratio


def render(body: Body, findings: Sequence[Finding]) -> np.ndarray:
    """The film: (SIZE, SIZE) uint8. The same body and findings give the same bytes.

    Grain and the details of one finding do not depend on what else is drawn.
    """
    scene = _chest(body, findings)
    for finding in findings:  # lesions first: they change how much air there is
        if finding.name in lesions.DRAW:
            rng = np.random.default_rng([body.noise, 1 + LUNG_FINDINGS.index(finding.name)])
            lesions.DRAW[finding.name](scene, finding, rng)
    lung = scene.air * (1 - 0.87 * scene.heart)
    attenuation = _tissue(scene) * (1 - 0.74 * lung)
    attenuation += 0.20 * scene.vessels * lung
    attenuation += _bones(scene) + scene.added
    _airways(scene, attenuation, lung)
    for finding in findings:
        if finding.name in DEVICES:
            attenuation += devices.DRAW[finding.name](scene, finding)
    return _film(scene, attenuation, np.random.default_rng([body.noise, 0]))


def _chest(body: Body, findings: Sequence[Finding]) -> Scene:
    """Cavities, heart and vessels of the patient without lesions, but with the heart as large as it is."""
    x, y = body.grid()
    elevated = {side: 0.0 for side in SIDES}
    ratio = body.heart + (0.02 if body.view == "AP" else 0.0)
    for finding in findings:
        if finding.name == "atelectasis":
            elevated |= {side: 7.0 for side in finding.sides}
        elif finding.name == "cardiomegaly":
            ratio = 0.1 * (body.heart - 0.43) + HEART_RATIO[finding.severity or "mild"]
    air = fill(body, [anatomy.lung(body, side, elevated[side]) for side in SIDES], soft=True)
    heart = fill(body, [anatomy.heart(body, ratio)], soft=True)
    return Scene(body, x, y, cavity=air, heart=heart, air=air.copy(), vessels=_vessels(body, x, y))


def _vessels(body: Body, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Branching vessels that taper from the hila outwards, plus the hila themselves."""
    rng = np.random.default_rng(body.texture)
    lines: list[np.ndarray] = []
    widths: list[float] = []
    side = np.repeat([-1.0, 1.0], 10)  # of each branch: the image's left, the image's right
    angle = np.tile(np.linspace(-1.5, 1.5, 10), 2) + rng.normal(0, 0.12, 20)  # 0 is lateral, positive downwards
    root = np.repeat([anatomy.HILUM["right"], anatomy.HILUM["left"]], 10, axis=0)
    start = root + np.stack([4 * np.cos(angle), 13 * np.sin(angle)], axis=1)  # (branches, 2): from the midline, y
    length, width = 15 + 5 * np.abs(np.sin(angle)), 2.7
    for _ in range(5):
        direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        bend = direction[:, ::-1] * [-1, 1] * rng.normal(0, 1.5, (len(angle), 1))
        end = start + direction * length[:, None]
        branch = np.stack([start, (start + end) / 2 + bend, end], axis=1)  # (branches, 3, 2)
        branch[..., 0] = MIDLINE + side[:, None] * branch[..., 0]
        lines.extend(branch)
        widths += [width] * len(angle)
        keep = np.flatnonzero(rng.random(2 * len(angle)) < 0.72)
        parent = keep % len(angle)
        turn = rng.uniform(0.12, 0.6, len(keep)) * np.where(keep < len(angle), -1, 0.8)
        side, angle, start, length = side[parent], angle[parent] + turn, end[parent], length[parent] * 0.84
        width *= 0.60
    vessels = stroke(body, lines, widths)
    near = slice(56, 176), slice(60, 196)
    x, y = np.abs(x[near] - MIDLINE), y[near]
    vessels[near] += 0.75 * np.exp(-np.square((x - 27) / 8.5) - np.square((y - 106) / 16))
    return np.minimum(vessels, 1.2)


def _tissue(scene: Scene) -> np.ndarray:
    """Attenuation of the trunk if it held no air: thicker in the middle and towards the abdomen."""
    body, x, y = scene.body, scene.x, scene.y
    trunk = fill(body, [anatomy.body_outline(body, side) for side in SIDES], soft=True)
    half_width = 112 + 16 * body.fat
    across = np.sqrt(np.clip(1 - np.square((x - MIDLINE) / half_width), 0.03, 1))
    tissue = 0.40 + 0.38 * across + np.clip((y - 120) * 0.0015, -0.05, 0.16)
    tissue += 0.075 * np.exp(-np.minimum(np.square((x - MIDLINE) / 25), 20))
    if body.female:
        for side in SIDES:
            breast = np.square((scene.side(side) - 52) / 41) + np.square((y - 156) / 43)
            tissue += (0.07 + 0.07 * body.fat) * sigmoid((1 - breast) * 8)
    return tissue * trunk


@cache
def _skeleton(view: str) -> dict[str, list[np.ndarray]]:
    """Outlines of the bones in chest coordinates; they are the same for all patients until `Body.place`."""
    out = 0 if view == "PA" else -10  # lying patients keep their shoulder blades over the lungs
    scapula = [(78 + out, 44), (112, 40), (126, 56), (112, 84), (98 + out, 128), (90 + out, 130), (83 + out, 86)]
    arm = [(112, 40), (128, 40), (140, 52), (160, 78), (160, 110), (140, 84), (122, 70)]
    line = anatomy.clavicle()
    thickness = np.interp(np.arange(len(line)), [0, 6, 16, len(line) - 1], [5.8, 4.0, 3.9, 5.2])
    bones: dict[str, list[np.ndarray]] = {"back": [], "front": [], "edges": [], "collar": [], "shoulder": []}
    for side in SIDES:
        for number, (posterior, anterior) in enumerate(anatomy.ribs()):
            thick = 3.4 + 0.12 * number
            band = anatomy.mirror(anatomy.ribbon(posterior, thick), side)
            bones["back"].append(band)
            bones["edges"] += [band[: len(posterior)], band[len(posterior) :]]
            if 0 < number < 7:
                bones["front"].append(anatomy.mirror(anatomy.ribbon(anterior, thick + 0.6), side))
        bones["collar"].append(anatomy.mirror(anatomy.ribbon(line, thickness), side))
        bones["shoulder"] += [anatomy.mirror(anatomy.smooth(outline), side) for outline in (scapula, arm)]
    return bones


def _bones(scene: Scene) -> np.ndarray:
    """Ribs, clavicles, scapulae and vertebrae: faint bands with brighter edges."""
    body = scene.body
    part = _skeleton(body.view)
    collar = [outline + [0.6 * body.turn, 0] for outline in part["collar"]]
    bones = 0.085 * fill(body, part["back"]) + 0.055 * fill(body, part["front"])
    bones += 0.055 * stroke(body, part["edges"] + collar, [1.2, 0.7] * (len(part["edges"]) // 2) + [1.2] * 2)
    bones += 0.11 * fill(body, collar + part["shoulder"])
    columns = slice(96, 160)  # the spine is the only thing left to draw: no need to look at the whole film
    bones[:, columns] += _vertebrae(scene.x[:, columns], scene.y[:, columns])
    return bones


def _vertebrae(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bodies with end plates, pedicles and spinous processes, seen through the mediastinum."""
    x = np.abs(x - MIDLINE) * np.float32(1 / 10.5)
    phase = (y - 8) * np.float32(1 / 16.4)
    phase -= np.floor(phase)
    column = sigmoid((1 - x) * 9)
    disc = np.exp(-np.square((phase - 0.5) / 0.13))
    pedicles = np.exp(-np.minimum(np.square((x - 0.62) / 0.16) + np.square(phase / 0.2), 20))
    spinous = np.exp(-np.minimum(np.square(x / 0.2) + np.square((phase - 0.25) / 0.2), 20))
    fade = np.clip(1.15 - y / 330, 0.4, 1)
    return (column * (0.06 - 0.07 * disc) + 0.06 * pedicles + 0.06 * spinous) * fade


def _airways(scene: Scene, attenuation: np.ndarray, lung: np.ndarray) -> None:
    """Trachea, main bronchi and the gas in the stomach, which darken what is there."""
    body, middle = scene.body, np.array([MIDLINE + 0.7 * scene.body.turn, 0])
    trachea = np.array([(0, -20), (0, 40), (0.6, 70), (0.5, 90)])
    right, left = np.array([(0.0, 86), (-9, 97), (-19, 108)]), np.array([(0.0, 86), (11, 96), (26, 104)])
    tubes = [
        anatomy.ribbon(line, np.array(widths)) + middle
        for line, widths in ((trachea, [5.4] * 4), (right, [4.8, 4.2, 3.2]), (left, [4.6, 3.8, 2.6]))
    ]
    attenuation -= 0.18 * fill(body, tubes, soft=True) * (1 - lung)
    stomach = anatomy.diaphragm(body, "left") + 17
    rows, columns = slice(176, SIZE), slice(128, 232)
    x, y = scene.x[rows, columns], scene.y[rows, columns]
    bubble = np.square((x - MIDLINE - 50) / 19) + np.square((y - stomach - 4) / 12.5)
    level = sigmoid((stomach + 7 - y) * 0.9)  # patients stand: the gas has a flat floor
    attenuation[rows, columns] -= 0.25 * level * sigmoid((1 - bubble) * 6)


def _film(scene: Scene, attenuation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Attenuation to grey: scatter, tone curve, grain, and the side marker."""
    body = scene.body
    attenuation *= 1 + 0.016 * clouds(rng, 14)
    contrast = 4.1 - 0.7 * body.fat  # more tissue, more scatter
    grey = sigmoid((attenuation - 0.47 + body.exposure + 0.03 * body.fat) * contrast)
    grey = (grey - 0.125) * 1.12
    grey += (rng.random((SIZE, SIZE), np.float32) - 0.5) * (0.045 if body.view == "PA" else 0.07)
    image = Image.fromarray((np.clip(grey, 0, 1) * 250 + 2).astype(np.uint8)).filter(ImageFilter.BoxBlur(0.5))
    ImageDraw.Draw(image).line([(241, 14), (241, 26), (247, 26)], fill=235, width=2)  # the L on the patient's left
    return np.asarray(image)
