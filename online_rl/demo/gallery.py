"""Draws twelve studies of the demo world on one sheet: `python -m online_rl.demo.gallery OUT.png`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from online_rl.demo.anatomy import SIZE, Body
from online_rl.demo.pathology import Finding
from online_rl.demo.rendering import render

COLUMNS, CELL, CAPTION, GAP = 4, 352, 34, 8
STUDIES: tuple[tuple[str, str, tuple[Finding, ...]], ...] = (
    ("Normal", "PA", ()),
    ("Small left pleural effusion", "PA", (Finding("effusion", "left", severity="small"),)),
    ("Large right pleural effusion", "PA", (Finding("effusion", "right", severity="large"),)),
    ("Moderate right pneumothorax", "PA", (Finding("pneumothorax", "right", severity="moderate"),)),
    ("Dense left mid lung consolidation", "PA", (Finding("consolidation", "left", "mid", "severe"),)),
    ("Mild right upper lobe consolidation", "PA", (Finding("consolidation", "right", "upper", "mild"),)),
    (
        "Severe pulmonary edema, intubated, AP",
        "AP",
        (Finding("edema", severity="severe"), Finding("endotracheal_tube"), Finding("nasogastric_tube")),
    ),
    (
        "Severe cardiomegaly, pacemaker",
        "PA",
        (Finding("cardiomegaly", severity="severe"), Finding("pacemaker", "left")),
    ),
    ("Left basal atelectasis", "PA", (Finding("atelectasis", "left", "lower"),)),
    ("20 mm nodule, right upper lobe", "PA", (Finding("nodule", "right", "upper", size_mm=20),)),
    ("Large left pneumothorax", "PA", (Finding("pneumothorax", "left", severity="large"),)),
    (
        "Bilateral effusions, central line, wires",
        "PA",
        (
            Finding("effusion", "bilateral", severity="moderate"),
            Finding("central_line", "right"),
            Finding("sternotomy_wires"),
        ),
    ),
)


def draw_gallery(path: str | Path, seed: int = 5) -> Path:
    """Write the sheet as a PNG and return its path."""
    rows = -(-len(STUDIES) // COLUMNS)
    width, height = COLUMNS * (CELL + GAP) + GAP, rows * (CELL + CAPTION + GAP) + GAP
    sheet = Image.new("L", (width, height), 14)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for number, (caption, view, findings) in enumerate(STUDIES):
        build, pose = np.random.default_rng([seed, number, 0]), np.random.default_rng([seed, number, 1])
        film = Image.fromarray(render(Body.draw(build, pose, view), findings))
        left = GAP + number % COLUMNS * (CELL + GAP)
        top = GAP + number // COLUMNS * (CELL + CAPTION + GAP)
        sheet.paste(film.resize((CELL, CELL), Image.Resampling.BICUBIC), (left, top))
        pen.text((left + CELL / 2, top + CELL + CAPTION / 2), caption, fill=225, font=font, anchor="mm")
    # 64 greys are all that an eye can tell apart here, and halve the file.
    sheet = sheet.point(lambda grey: grey & 0xFC)
    sheet.save(path, optimize=True)
    return Path(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m online_rl.demo.gallery OUT.png")
    print(f"{draw_gallery(sys.argv[1])}: {len(STUDIES)} studies, each drawn at {SIZE} x {SIZE}")
