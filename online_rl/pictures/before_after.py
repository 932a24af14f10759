"""Held-out studies side by side: image, reference report, report before training, report after."""

from __future__ import annotations

import json
import math
from pathlib import Path

from PIL import Image, ImageDraw

from online_rl.errors import DataError
from online_rl.pictures.cards import (
    GAIN,
    IMAGE_SIDE,
    INK,
    LOSS,
    MARGIN,
    MUTED,
    PAPER,
    SMALL,
    Column,
    block_width,
    font,
    study_block,
)
from online_rl.pictures.choice import Pair, Sample, choose, how_chosen
from online_rl.pictures.error_plot import CATEGORIES
from online_rl.whole_file import whole_file

TITLE = 24
WIDTH = block_width(3)


def plot_before_after(run_dir: Path, out: Path, name: str = "") -> Path | None:
    """Write the samples of the first and the last evaluation to `out`; None where the run has kept none.

    name  of the run, for the title
    """
    pairs, when = sample_pairs(Path(run_dir))
    if not pairs:
        return None
    title = "Reports before and after training" if when == "After" else f"Reports before training and at {when.lower()}"
    picture = compose(choose(pairs), how_chosen(pairs), Path(run_dir), f"{name}: {title}" if name else title, when)
    with whole_file(out, private=True) as partial:
        picture.save(partial)
    return out


def sample_pairs(run_dir: Path) -> tuple[list[Pair], str]:
    """Studies that the first evaluation and the last one have kept, and "After", or "Step 40" of an unfinished run."""
    folder = run_dir / "samples"
    steps = sorted(folder.glob("step-*.jsonl"), key=_step, reverse=True)
    later = next((path for path in (folder / "after.jsonl", *steps) if path.is_file()), None)
    if later is None or not (folder / "before.jsonl").is_file():
        return [], ""
    before, after = read_samples(folder / "before.jsonl"), read_samples(later)
    pairs = [Pair(sample, after[study]) for study, sample in before.items() if study in after]
    return pairs, "After" if later.stem == "after" else f"Step {_step(later)}"


def _step(path: Path) -> int:
    number = path.stem.removeprefix("step-")
    return int(number) if number.isdigit() else -1


def read_samples(path: Path) -> dict[str, Sample]:
    """Samples by study. Skips a half-written line and samples without a finite reward."""
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


def compose(rows: list[tuple[str, Pair]], how: str, run_dir: Path, title: str, when: str) -> Image.Image:
    blocks = [draw_row(label, pair, run_dir, when) for label, pair in rows]
    head = 118
    picture = Image.new("RGB", (WIDTH, head + sum(block.height for block in blocks)), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, 26), title, font=font(TITLE, bold=True), fill=INK)
    draw.text((MARGIN, 66), how, font=font(SMALL), fill=MUTED)
    y = head
    for block in blocks:
        picture.paste(block, (0, y))
        y += block.height
    return picture


def draw_row(label: str, pair: Pair, run_dir: Path, when: str) -> Image.Image:
    colour = GAIN if pair.change > 0 else LOSS if pair.change < 0 else MUTED
    image = open_image(pair.after.get("image"), run_dir)
    columns = [reference_column(pair.after), report_column("Before", pair.before), report_column(when, pair.after)]
    asked = str(pair.after.get("indication") or "")
    return study_block(label, image, asked, columns, (f"{pair.change:+.3f} reward", colour))


def reference_column(sample: Sample) -> Column:
    text = str(sample.get("reference") or "")
    return "Reference report", f"{len(text.split())} words", text


def report_column(head: str, sample: Sample) -> Column:
    return head, score_text(sample), str(sample.get("candidate") or "")


def score_text(sample: Sample) -> str:
    """`reward 0.512, verbosity 0.93`, and on a line of its own which errors the judges counted."""
    reward, verbosity = sample.get("reward"), sample.get("verbosity")
    first = f"reward {reward:.3f}" if isinstance(reward, int | float) else "unscorable"
    first += f", verbosity {verbosity:.2f}" if isinstance(verbosity, int | float) else ""
    return "\n".join([first, *filter(None, [errors_text(sample)])])


def errors_text(sample: Sample) -> str:
    """`missing finding x 2, wrong location`, of the judges that tell errors apart; "no errors" if there are none."""
    scores = sample.get("scores")
    found: dict[str, str] = {}
    for judge, parts in scores.items() if isinstance(scores, dict) else ():
        counts = {name: parts.get(name) for name in CATEGORIES} if isinstance(parts, dict) else {}
        if any(isinstance(count, int | float) for count in counts.values()):
            names = {name.replace("_", " "): count for name, count in counts.items() if count}
            errors = [name if count == 1 else f"{name} x {count:g}" for name, count in names.items()]
            found[judge] = ", ".join(errors) or "no errors"
    return "; ".join(text if len(found) == 1 else f"{judge}: {text}" for judge, text in found.items())


def open_image(source: object, run_dir: Path) -> Image.Image:
    """The study's image (a path, or relative to the run folder, or in a data set); a grey field if it is gone."""
    from online_rl.data.held_image import HeldImage
    from online_rl.data.images import load_image

    place = str(source) if HeldImage.is_one(source) else str(run_dir / str(source))
    try:
        return load_image(place, IMAGE_SIDE * 2)
    except (DataError, OSError, LookupError):  # the last, where a data set has lost the row since
        field = Image.new("RGB", (IMAGE_SIDE, IMAGE_SIDE), "#f1f5f9")
        ImageDraw.Draw(field).text(
            (IMAGE_SIDE // 2, IMAGE_SIDE // 2), "no image", font=font(SMALL), fill=MUTED, anchor="mm"
        )
        return field
