"""Three held-out studies side by side: image, reference report, report before training, report after."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from online_rl.errors import DataError
from online_rl.monitor.cards import INK, MUTED, PAPER, draw_lines, fit, font, line_height, wrap

Sample = dict[str, Any]

MARGIN, GAP = 36, 28
IMAGE_SIDE, TEXT_WIDTH = 300, 330
BODY, SMALL, HEAD, TITLE = 15, 14, 16, 24
GAIN, LOSS, RULE = "#047857", "#b91c1c", "#e2e8f0"
COLUMNS = [MARGIN + IMAGE_SIDE + GAP + i * (TEXT_WIDTH + GAP) for i in range(3)]  # left edges of the three texts
WIDTH = COLUMNS[-1] + TEXT_WIDTH + MARGIN


@dataclass(frozen=True)
class Pair:
    """The same study before and after training."""

    before: Sample
    after: Sample

    @property
    def change(self) -> float:
        return self.after["reward"] - self.before["reward"]


def plot_before_after(run_dir: Path, place: Path | None = None) -> Path | None:
    """Write `before_after.png` into `place` (None = `plots` in the run folder) from `samples/before.jsonl` and
    `samples/after.jsonl`; None without them."""
    run_dir = Path(run_dir)
    files = [run_dir / "samples" / name for name in ("before.jsonl", "after.jsonl")]
    if not all(file.is_file() for file in files):
        return None
    before, after = (read_samples(file) for file in files)
    pairs = [Pair(sample, after[study]) for study, sample in before.items() if study in after]
    if not pairs:
        return None
    out = (place or run_dir / "plots") / "before_after.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    compose(choose(pairs), len(pairs), run_dir).save(out)
    return out


def read_samples(path: Path) -> dict[str, Sample]:
    """By study; a half-written line and a sample without a finite reward are passed over."""
    samples = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            sample = json.loads(line)
        except ValueError:
            continue
        reward = sample.get("reward") if isinstance(sample, dict) else None
        if "study_id" in (sample or ()) and isinstance(reward, int | float) and math.isfinite(reward):
            samples[str(sample["study_id"])] = sample
    return samples


def choose(pairs: list[Pair]) -> list[tuple[str, Pair]]:
    """By rule, not by taste: the largest, the median and the smallest change of reward; a loss is smaller than none."""
    ranked = sorted(pairs, key=lambda pair: (-pair.change, str(pair.before["study_id"])))
    if len(ranked) == 1:
        return [("The only study", ranked[0])]
    last = len(ranked) - 1
    places = {0: "Largest change", last: "Smallest change"}
    if last > 1:
        places[last // 2] = "Median change"
    return [(f"{places[i]} ({i + 1} of {len(ranked)})", ranked[i]) for i in sorted(places)]


def compose(rows: list[tuple[str, Pair]], total: int, run_dir: Path) -> Image.Image:
    blocks = [draw_row(label, pair, run_dir) for label, pair in rows]
    head = 118
    picture = Image.new("RGB", (WIDTH, head + sum(block.height for block in blocks)), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, 26), "Reports before and after training", font=font(TITLE, bold=True), fill=INK)
    studies = f"{total} sampled studies" if total > 1 else "1 sampled study"
    how = (
        f"Chosen by rule out of {studies}: largest, median and smallest change of reward (a loss is smaller than none)."
    )
    draw.text((MARGIN, 66), how, font=font(SMALL), fill=MUTED)
    y = head
    for block in blocks:
        picture.paste(block, (0, y))
        y += block.height
    return picture


def draw_row(label: str, pair: Pair, run_dir: Path) -> Image.Image:
    """One study. The block is as high as its longest text, so nothing is cut off."""
    heads = ["Reference report", "Before", "After"]
    texts = [pair.after.get("reference", ""), pair.before.get("candidate", ""), pair.after.get("candidate", "")]
    scores = [f"{len(str(texts[0]).split())} words", score_text(pair.before), score_text(pair.after)]
    wrapped = [wrap(str(text) or "(empty)", BODY, TEXT_WIDTH) for text in texts]
    image = fit(open_image(pair.after.get("image"), run_dir), IMAGE_SIDE, IMAGE_SIDE)
    indication = str(pair.after.get("indication") or "")
    asked = wrap(f"Indication: {indication}", SMALL, IMAGE_SIDE) if indication else []

    top = 60
    text_top = top + line_height(HEAD) + line_height(SMALL) + 8
    bottom = max(
        top + image.height + 10 + len(asked) * line_height(SMALL),
        text_top + max(map(len, wrapped)) * line_height(BODY),
    )
    block = Image.new("RGB", (WIDTH, bottom + 34), PAPER)
    draw = ImageDraw.Draw(block)
    draw.line([(MARGIN, 0), (WIDTH - MARGIN, 0)], fill=RULE, width=2)
    colour = GAIN if pair.change > 0 else LOSS if pair.change < 0 else MUTED
    draw.text((MARGIN, 20), label, font=font(HEAD, bold=True), fill=INK)
    change_x = MARGIN + font(HEAD, bold=True).getlength(label) + 10
    draw.text((change_x, 20), f"{pair.change:+.3f} reward", font=font(HEAD, bold=True), fill=colour)

    block.paste(image, (MARGIN, top))
    draw_lines(draw, (MARGIN, top + image.height + 10), asked, SMALL, MUTED)
    for x, head, score, lines in zip(COLUMNS, heads, scores, wrapped, strict=True):
        draw.text((x, top), head, font=font(HEAD, bold=True), fill=INK)
        draw.text((x, top + line_height(HEAD)), score, font=font(SMALL), fill=MUTED)
        draw_lines(draw, (x, text_top), lines, BODY)
    return block


def score_text(sample: Sample) -> str:
    verbosity = sample.get("verbosity")
    words = f", verbosity {verbosity:.2f}" if isinstance(verbosity, int | float) else ""
    return f"reward {sample['reward']:.3f}{words}"


def open_image(source: object, run_dir: Path) -> Image.Image:
    """The study's image (a path, or relative to the run folder); a grey field where it is gone."""
    from online_rl.data.images import load_image

    try:
        return load_image(str(run_dir / str(source)), IMAGE_SIDE * 2)
    except (DataError, OSError):
        field = Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE), "#f1f5f9")
        ImageDraw.Draw(field).text(
            (IMAGE_SIDE // 2, IMAGE_SIDE // 2), "no image", font=font(SMALL), fill=MUTED, anchor="mm"
        )
        return field
