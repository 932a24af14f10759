"""The body that is drawn: one patient's build, and the outlines of organs and bones in chest coordinates.

Chest coordinates are those of an average patient on a 256 x 256 image: x grows to the image's right, which is the
patient's left; the midline is x = 128. `Body.place` maps them to the image (habitus, tilt, shift). Outlines of paired
organs are given as distances from the midline; `mirror` puts them on a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIZE = 256
MIDLINE = 128.0
THORAX_HALF_WIDTH = 94.0  # inner half width of the rib cage at its widest
MM_PER_UNIT = 1.5
ZOOM = 1.13  # image pixels per unit of chest coordinates
CENTRE = np.array([MIDLINE, 121.0])  # this point of the chest ...
IMAGE_CENTRE = np.array([127.5, 126.0])  # ... lies here in the image
HILUM = {"right": (27.0, 106.0), "left": (27.0, 100.0)}  # distance from the midline, y
RIBS = 10

# Half width of the rib cage where each rib is most lateral, rib 1 to 10.
_RIB_WIDTH = np.array([40, 61, 75, 84, 89, 92, 94, 95, 95, 93], float)
_RIB_TOP = 21 + 16.4 * np.arange(RIBS)  # y at the spine
_RIB_DROP = np.array([22, 36, 48, 56, 60, 62, 62, 62, 60, 58], float)  # from the spine to the anterior end


@dataclass(frozen=True)
class Body:
    """What stays the same in all studies of a patient (build) and what is new in each (pose, exposure)."""

    female: bool
    width: float  # scale of the chest, 1 = average
    height: float
    fat: float  # 0 slim .. 1 obese: thicker chest wall, hazier lungs
    heart: float  # cardiothoracic ratio without cardiomegaly
    texture: int  # seed of the vessels
    view: str  # "PA" or "AP"
    tilt: float  # radians, in the image plane
    turn: float  # patient rotated about the long axis: shift of the midline structures in pixels
    inspiration: float  # how far the diaphragm is below its average position, pixels
    exposure: float
    noise: int  # seed of the film's noise

    @classmethod
    def draw(cls, build: np.random.Generator, pose: np.random.Generator, view: str) -> Body:
        """`build` must be seeded by the patient, `pose` by the study."""
        female = bool(build.random() < 0.5)
        return cls(
            female=female,
            width=float(build.uniform(0.95, 1.05)) - 0.02 * female,
            height=float(build.uniform(0.95, 1.05)),
            fat=float(build.beta(2, 3)),
            heart=float(build.uniform(0.405, 0.465)),
            texture=int(build.integers(2**31)),
            view=view,
            tilt=float(pose.normal(0, 0.018)),
            turn=float(pose.normal(0, 2.0)),
            inspiration=float(pose.uniform(-7, 6)) - (4 if view == "AP" else 0),
            exposure=float(pose.uniform(-0.05, 0.06)),
            noise=int(pose.integers(2**31)),
        )

    def place(self, points: np.ndarray) -> np.ndarray:
        """Chest coordinates (N, 2) to image pixels (N, 2)."""
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        turn = np.array([[cos * self.width, sin * self.width], [-sin * self.height, cos * self.height]]) * ZOOM
        return (points - CENTRE) @ turn + IMAGE_CENTRE

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """The chest coordinates of every pixel: x and y, each (SIZE, SIZE) float32. The inverse of `place`."""
        row = np.arange(SIZE, dtype=np.float32)
        x, y = row[None, :] - np.float32(IMAGE_CENTRE[0]), row[:, None] - np.float32(IMAGE_CENTRE[1])
        cos, sin = np.float32(np.cos(self.tilt) / ZOOM), np.float32(np.sin(self.tilt) / ZOOM)
        return (
            np.float32(CENTRE[0]) + (x * cos + y * sin) * np.float32(1 / self.width),
            np.float32(CENTRE[1]) + (y * cos - x * sin) * np.float32(1 / self.height),
        )


def mirror(points: np.ndarray, side: str) -> np.ndarray:
    """(distance from the midline, y) to chest coordinates. The patient's left is on the image's right."""
    sign = 1.0 if side == "left" else -1.0
    return np.stack([MIDLINE + sign * points[:, 0], points[:, 1]], axis=1)


def smooth(points: Sequence[tuple[float, float]], closed: bool = True, steps: int = 6) -> np.ndarray:
    """A Catmull-Rom curve through the points."""
    p = np.asarray(points, float)
    padded = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    a, b, c, d = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]  # (segments, 2)
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (v[:, None, :] for v in (a, b, c, d))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def diaphragm(body: Body, side: str, elevated: float = 0.0) -> float:
    """y of the top of a hemidiaphragm. The left one is a little lower, above the stomach."""
    return 184 + (5 if side == "left" else 0) + body.inspiration - elevated


def lung(body: Body, side: str, elevated: float = 0.0) -> np.ndarray:
    """Outline of the aerated cavity of a side, before the heart is laid over it."""
    dome = diaphragm(body, side, elevated)
    angle = dome + 25  # the costophrenic angle
    return mirror(
        smooth(
            [
                (30, 31), (44, 30), (56, 42), (66, 62), (76, 86), (84, 110), (89, 134), (91.5, 158), (92.5, 180),
                (92, angle - 7), (90, angle), (84, angle - 9), (74, dome + 5), (60, dome), (44, dome + 1),
                (28, dome + 6), (15, dome + 9), (12, 160), (12, 120), (13, 80), (17, 50),
            ]
        ),
        side,
    )  # fmt: skip


def heart(body: Body, ratio: float) -> np.ndarray:
    """Outline of heart and great vessels; `ratio` is the cardiothoracic ratio."""
    width = ratio * 2 * THORAX_HALF_WIDTH
    right, left = 0.34 * width, 0.66 * width
    low = diaphragm(body, "right") + 6
    right_waist, left_waist = max(18.0, 0.62 * right), max(24.0, 0.50 * left)
    return smooth(
        [
            (-13, 14), (-15, 44), (-18, 66), (-18.5, 88), (-right_waist - 4, 106), (-0.93 * right, 122), (-right, 142),
            (-0.9 * right, 164), (-0.72 * right, low), (0, low + 14), (0.6 * left, low + 15), (0.92 * left, low + 4),
            (left, low - 14), (0.96 * left, low - 28), (0.80 * left, low - 50), (left_waist + 4, low - 72), (25.5, 98),
            (23, 89), (21.5, 83), (25.5, 76), (26, 67), (21, 59), (15, 46), (13, 14),
        ]
    ) + np.array([MIDLINE + body.turn, 0.0])  # fmt: skip


def ribs() -> list[tuple[np.ndarray, np.ndarray]]:
    """Centre lines of ribs 1 to 10 as (posterior part, anterior part), each (points, 2): distance from the midline, y.

    A rib is a hoop in a plane that leans forward. Seen from the front its point at angle phi from the spine is at
    x = W sin(phi), y = top + drop (1 - cos(phi)) / 2: the back part sinks outwards, the front part sinks inwards.
    """
    back, front = np.linspace(0.10, 1.62, 15), np.linspace(1.50, 2.55, 11)
    return [
        (_hoop(width, top, drop, back), _hoop(width, top, drop, front))
        for width, top, drop in zip(_RIB_WIDTH, _RIB_TOP, _RIB_DROP, strict=True)
    ]


def _hoop(width: float, top: float, drop: float, phi: np.ndarray) -> np.ndarray:
    return np.stack([width * np.sin(phi) ** 0.92, top + drop * (1 - np.cos(phi)) / 2], axis=1)


def body_outline(body: Body, side: str) -> np.ndarray:
    """Outline of neck, shoulder and trunk of one side, reaching over the midline."""
    wall = 100 + 16 * body.fat  # half width of the trunk
    return mirror(
        smooth(
            [(-6, -20), (24, -20), (27, 8), (38, 17), (66, 24), (100, 31), (124, 44), (150, 60), (150, 92), (118, 96),
             (wall + 3, 112), (wall, 150), (wall + 2, 200), (wall + 6, 290), (-6, 290)]
        ),
        side,
    )  # fmt: skip


def clavicle() -> np.ndarray:
    """Centre line, (distance from the midline, y), medial end first."""
    return smooth([(9, 49), (22, 46), (40, 42), (58, 34), (76, 29), (96, 31)], closed=False, steps=5)


def ribbon(line: np.ndarray, half_width: np.ndarray | float) -> np.ndarray:
    """The outline of a band around a centre line (N, 2): (2N, 2)."""
    along = np.gradient(line, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    offset = normal * np.broadcast_to(np.asarray(half_width, float).reshape(-1, 1), (len(line), 1))
    return np.concatenate([line + offset, (line - offset)[::-1]])
