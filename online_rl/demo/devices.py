"""Draws tubes, lines and hardware: each function returns the attenuation that a device adds to a `Scene`.

They are drawn thicker and denser than on a film: the demo policy sees the film at 112 pixels, under half of its size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from online_rl.demo import anatomy
from online_rl.demo.anatomy import MIDLINE
from online_rl.demo.pathology import Finding
from online_rl.demo.scene import Scene, fill, stroke


def endotracheal_tube(scene: Scene, finding: Finding) -> np.ndarray:
    """Two walls inside the trachea, ending above the carina."""
    centre = anatomy.smooth([(0.5, -12), (-0.5, 20), (0.5, 50), (0.8, 70)], closed=False)
    centre = centre + [MIDLINE + 0.7 * scene.body.turn, 0]
    return 0.9 * stroke(scene.body, [centre - [4.4, 0], centre + [4.4, 0]], [4.0, 4.0])


def central_line(scene: Scene, finding: Finding) -> np.ndarray:
    """From the jugular vein of its side to the superior vena cava, which is right of the midline."""
    if finding.side == "left":
        path = [(34, -10), (30, 18), (27, 44), (16, 62), (-6, 72), (-15, 84), (-17, 104)]
    else:
        path = [(-34, -10), (-31, 18), (-25, 46), (-18, 66), (-17, 86), (-17, 106)]
    line = anatomy.smooth(path, closed=False) + [MIDLINE + scene.body.turn, 0]
    return 0.9 * stroke(scene.body, [line], [5.0])


def pacemaker(scene: Scene, finding: Finding) -> np.ndarray:
    """A generator below the clavicle and two leads, to the right atrium and the right ventricle."""
    sign = 1.0 if finding.side == "left" else -1.0
    low = anatomy.diaphragm(scene.body, "left")
    case = anatomy.smooth([(65, 62), (67, 55), (75, 53), (88, 54), (94, 58), (95, 74), (88, 82), (75, 82), (66, 77)])
    header = anatomy.smooth([(66, 60), (68, 55), (76, 53), (86, 54), (87, 60), (76, 62)])  # where the leads plug in
    start = [(sign * 72, 58), (sign * 56, 48), (sign * 30, 50)]
    start += [(4, 60), (-15, 74)] if sign > 0 else [(-18, 64)]
    atrium = anatomy.smooth([*start, (-18, 104), (-24, 132), (-30, 126)], closed=False)
    ventricle = anatomy.smooth([*start, (-19, 106), (-20, 146), (-4, low - 16), (38, low - 9)], closed=False)
    lines = [line + [MIDLINE + scene.body.turn, 0] for line in (atrium, ventricle)]
    side = finding.side or "left"
    metal = 0.8 * fill(scene.body, [anatomy.mirror(case, side)])
    metal -= 0.22 * fill(scene.body, [anatomy.mirror(header, side)])
    return np.maximum(metal, 0.8 * stroke(scene.body, lines, [3.6, 3.6]))


def sternotomy_wires(scene: Scene, finding: Finding) -> np.ndarray:
    """Six twisted loops down the midline."""
    angle = np.linspace(0, 2 * np.pi, 16)
    loop = np.stack([9.5 * np.cos(angle), 4.6 * np.sin(angle) + 1.4 * np.cos(angle)], axis=1)
    loops = [loop + [MIDLINE + scene.body.turn, y] for y in np.linspace(62, 164, 6)]
    return 1.0 * stroke(scene.body, loops, [3.6] * 6)


def nasogastric_tube(scene: Scene, finding: Finding) -> np.ndarray:
    """Down the oesophagus, through the diaphragm, into the stomach."""
    stomach = anatomy.diaphragm(scene.body, "left") + 20
    path = [(4, -12), (5, 60), (6, 110), (9, 150), (20, stomach - 16), (38, stomach - 2)]
    path += [(56, stomach + 12), (50, stomach + 30)]
    line = anatomy.smooth(path, closed=False) + [MIDLINE + 0.7 * scene.body.turn, 0]
    return 0.9 * stroke(scene.body, [line], [5.0])


DRAW: dict[str, Callable[[Scene, Finding], np.ndarray]] = {
    "endotracheal_tube": endotracheal_tube,
    "central_line": central_line,
    "pacemaker": pacemaker,
    "sternotomy_wires": sternotomy_wires,
    "nasogastric_tube": nasogastric_tube,
}
