"""Reports drawn beside their X-ray: one study with its columns of text, and the measuring of text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Column = tuple[str, str, str]  # heading, a note under it (score, words), the report

INK, MUTED, PAPER, RULE = "#0f172a", "#64748b", "white", "#e2e8f0"
GAIN, LOSS = "#047857", "#b91c1c"
MARGIN, GAP = 36, 28
IMAGE_SIDE, TEXT_WIDTH = 300, 330
BODY, SMALL, HEAD = 15, 14, 16
MAX_LINES = 60  # a degenerate report of a thousand words must not make a picture of a thousand lines


@lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> Any:
    import matplotlib  # its DejaVu fonts come with the package and cover most of the alphabets

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def line_height(size: int) -> int:
    return round(size * 1.4)


def wrap(text: str, size: int, width: int, bold: bool = False) -> list[str]:
    """Lines of at most `width` pixels. Words longer than a line are cut; control characters become spaces."""
    measure = font(size, bold).getlength
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in "".join(c if c.isprintable() else " " for c in paragraph).split():
            while measure(word) > width and len(word) > 1:
                fits = next((n for n in range(len(word) - 1, 0, -1) if measure(word[:n]) <= width), 1)
                lines += [line, word[:fits]] if line else [word[:fits]]
                line, word = "", word[fits:]
            if line and measure(f"{line} {word}") > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… ({len(lines) - MAX_LINES} more lines)"]
    return lines


def draw_lines(draw: ImageDraw.ImageDraw, at: tuple[int, int], lines: list[str], size: int, colour: str = INK) -> int:
    """Draw the lines from `at` down; return the y below them."""
    x, y = at
    for line in lines:
        draw.text((x, y), line, font=font(size), fill=colour)
        y += line_height(size)
    return y


def fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """The whole image, its proportions kept, at most `width` x `height`."""
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def study_block(
    label: str,
    image: Image.Image,
    indication: str,
    columns: Sequence[Column],
    change: tuple[str, str] | None = None,
) -> Image.Image:
    """One study: the X-ray at the left, then a column per report. As high as its longest text; nothing is cut off.

    change  a text behind the label, and its colour
    """
    picture = fit(image, IMAGE_SIDE, IMAGE_SIDE)
    asked = wrap(f"Indication: {indication}", SMALL, IMAGE_SIDE) if indication else []
    notes = [wrap(note, SMALL, TEXT_WIDTH) for _, note, _ in columns]
    texts = [wrap(text or "(empty)", BODY, TEXT_WIDTH) for _, _, text in columns]

    top = 60
    text_top = top + line_height(HEAD) + max(map(len, notes)) * line_height(SMALL) + 8
    bottom = max(
        top + picture.height + 10 + len(asked) * line_height(SMALL),
        text_top + max(map(len, texts)) * line_height(BODY),
    )
    width = block_width(len(columns))
    block = Image.new("RGB", (width, bottom + 34), PAPER)
    draw = ImageDraw.Draw(block)
    draw.line([(MARGIN, 0), (width - MARGIN, 0)], fill=RULE, width=2)
    draw.text((MARGIN, 20), label, font=font(HEAD, bold=True), fill=INK)
    if change:
        behind = MARGIN + font(HEAD, bold=True).getlength(label) + 10
        draw.text((behind, 20), change[0], font=font(HEAD, bold=True), fill=change[1])

    block.paste(picture, (MARGIN, top))
    draw_lines(draw, (MARGIN, top + picture.height + 10), asked, SMALL, MUTED)
    for index, (head, _, _) in enumerate(columns):
        x = MARGIN + IMAGE_SIDE + GAP + index * (TEXT_WIDTH + GAP)
        draw.text((x, top), head, font=font(HEAD, bold=True), fill=INK)
        draw_lines(draw, (x, top + line_height(HEAD)), notes[index], SMALL, MUTED)
        draw_lines(draw, (x, text_top), texts[index], BODY)
    return block


def block_width(columns: int) -> int:
    return MARGIN + IMAGE_SIDE + columns * (GAP + TEXT_WIDTH) + MARGIN
