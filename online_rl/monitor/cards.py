"""Reports drawn beside their image: the card of one sample, and the text measuring that the pictures share."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

INK, MUTED, PAPER = "#0f172a", "#64748b", "white"
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


def sample_card(image: Image.Image, text: str) -> Image.Image:
    """The image at the left, the text at the right, as high as the higher of the two."""
    picture, margin, text_width, size = fit(image, 480, 480), 20, 560, 16
    lines = wrap(text, size, text_width)
    height = max(picture.height, len(lines) * line_height(size)) + 2 * margin
    card = Image.new("RGB", (picture.width + text_width + 3 * margin, height), PAPER)
    card.paste(picture, (margin, margin))
    draw_lines(ImageDraw.Draw(card), (picture.width + 2 * margin, margin), lines, size)
    return card
