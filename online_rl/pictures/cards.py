"""Reports drawn beside their X-ray: one study with its columns of text, and the measuring of text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
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
LONG_WORD = 32  # characters; a longer word is measured in parts


@lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> Any:
    import matplotlib  # its DejaVu fonts come with the package and cover most of the alphabets

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def line_height(size: int) -> int:
    return round(size * 1.4)


def wrap(text: str, size: int, width: int, bold: bool = False) -> list[str]:
    """Lines of at most `width` pixels; behind MAX_LINES of them a line says that there is more.

    Words longer than a line are cut; control characters become spaces.
    """
    lines = list(islice(_wrapped(text, font(size, bold).getlength, width), MAX_LINES + 1))
    return lines if len(lines) <= MAX_LINES else [*lines[:MAX_LINES], "… (more lines)"]


def _wrapped(text: str, measure: Callable[[str], float], width: int) -> Iterator[str]:
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in "".join(c if c.isprintable() else " " for c in paragraph).split():
            while (fits := _how_many_fit(word, measure, width)) < len(word):
                yield from filter(None, (line, word[:fits]))
                line, word = "", word[fits:]
            if line and measure(f"{line} {word}") > width:
                yield line
                line = word
            else:
                line = f"{line} {word}" if line else word
        yield line


def _how_many_fit(word: str, measure: Callable[[str], float], width: int) -> int:
    """How many of its characters fit a line, at least one. Measures a few lines' worth of them, however many it has."""
    reach = LONG_WORD
    while measure(word[:reach]) <= width:
        if reach >= len(word):
            return len(word)
        reach *= 2
    fits = bisect_right(range(1, reach), float(width), key=lambda count: measure(word[:count]))
    return max(1, fits)


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
