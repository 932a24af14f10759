"""The film while it is being drawn, and the pens that draw on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from online_rl.demo.anatomy import MIDLINE, SIZE, Body

FINE = 2  # outlines are drawn twice as fine and averaged: smooth edges for little


@dataclass
class Scene:
    """What is on the film so far; every array is (SIZE, SIZE) float32."""

    body: Body
    x: np.ndarray  # chest coordinates of each pixel
    y: np.ndarray
    cavity: np.ndarray  # both pleural cavities, 0..1
    heart: np.ndarray  # heart and great vessels, 0..1
    air: np.ndarray  # share of air, 0..1, as if the heart were not there
    vessels: np.ndarray  # 0..1, visible where there is air
    added: np.ndarray = field(default_factory=lambda: np.zeros((SIZE, SIZE), np.float32))  # attenuation on top

    def side(self, name: str) -> np.ndarray:
        """Distance of each pixel from the midline, positive on that side of the patient."""
        return self.x - MIDLINE if name == "left" else MIDLINE - self.x

    def cavity_of(self, name: str) -> np.ndarray:
        """The pleural cavity of one side, 0..1."""
        return self.cavity * (self.side(name) > 0)


def fill(body: Body, outlines: Sequence[np.ndarray], soft: bool = False) -> np.ndarray:
    """Filled outlines in chest coordinates as a mask 0..1; soft edges are three pixels wide, others one."""
    fine = 1 if soft else FINE
    image = Image.new("L", (SIZE * fine, SIZE * fine))
    pen = ImageDraw.Draw(image)
    for corners in _corners(body, outlines, fine):
        pen.polygon(corners, fill=255)
    image = image.reduce(2)
    return _values(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR) if soft else image)


def stroke(body: Body, lines: Sequence[np.ndarray], widths: Sequence[float]) -> np.ndarray:
    """Open lines in chest coordinates, of the given widths in pixels, as a mask 0..1. Hairlines are drawn fainter."""
    image = Image.new("L", (SIZE * FINE, SIZE * FINE))
    draw = ImageDraw.Draw(image).line
    for corners, width in zip(_corners(body, lines, FINE), widths, strict=True):
        wide = FINE * width
        joint = "curve" if wide > 3 and len(corners) > 6 else None
        draw(corners, fill=255 if wide >= 1 else int(255 * wide), width=max(1, round(wide)), joint=joint)
    return _values(image.reduce(FINE))


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), safe for any float32."""
    return 1 / (1 + np.exp(np.clip(-z, -20, 20)))


def clouds(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth noise with that many cells along a side, about standard normal: (SIZE, SIZE) float32."""
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) * np.float32(1.5)


def _corners(body: Body, outlines: Sequence[np.ndarray], fine: int) -> list[list[float]]:
    """Each outline as x, y, x, y ... on the fine film; all are placed at once, which is most of the speed."""
    placed = ((body.place(np.concatenate(outlines)) + 0.5) * fine - 0.5).ravel().tolist()
    ends = np.cumsum([2 * len(outline) for outline in outlines]).tolist()
    return [placed[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _values(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float32) * np.float32(1 / 255)
