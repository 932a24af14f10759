"""Do large images slow a step down? The demo's X-rays as they are (112 pixels) and as files of 2,048, in turns.

    python benchmarks/image_sizes.py [--steps N] [--rounds N] [--runs DIR] [--json FILE] [section.key=value ...]

Both data sets hold the same studies and reports. The large images are the small ones enlarged, with noise, so that
they compress no better than real radiographs. `data.image_cache` keeps shrunken copies; a first run, which is not
counted, fills it. `ratio` is the median step with large images over the median step with small ones, over all rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from machine import command_line, machine
from runs import Run, keep, train_missing

from online_rl import demo_config, read_studies
from online_rl.pictures.plots import load_run

RECIPE = "configs/demo_grpo.yaml"
SIDES = {"112 pixels": None, "2,048 pixels": 2048}
SETTINGS = (
    "data.reader=jsonl",
    "model.path=demo",
    "eval.studies=8",
    "eval.every=0",
    "eval.image_check=never",
    "scoring.price_studies=0",
    "monitor.samples=0",
    "monitor.samples_every=0",
    "train.save_every=100000",
)
STUDIES = 160


def write_data(folder: Path, side: int | None) -> Path:
    """The demo's first studies as JSONL, their images `side` pixels wide; once."""
    import numpy as np
    from PIL import Image

    path = folder / "studies.jsonl"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    found, lines, noise = read_studies(demo_config()), [], np.random.default_rng(0)
    for study in [*found.train[:STUDIES], *found.eval[:8]]:
        image = Image.open(study.images[0]).convert("L")
        if side:
            pixels = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), np.int16)
            pixels = np.clip(pixels + noise.integers(-3, 4, pixels.shape, np.int16), 0, 255).astype(np.uint8)
            image = Image.fromarray(pixels)
        place = folder / f"{study.study_id}.png"
        image.save(place, compress_level=1)
        lines.append(
            {
                "study_id": study.study_id,
                "patient_id": study.patient_id,
                "split": study.split,
                "images": [place.name],
                "indication": study.indication,
                "findings": study.reference,
            }
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--steps", type=int, default=22)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--runs", type=Path, default=Path("runs/image_sizes"))
    made.add_argument("--json", metavar="FILE")
    made.add_argument("overrides", nargs="*", metavar="section.key=value")
    given = made.parse_intermixed_args()
    place = given.runs.resolve()
    taken: dict[str, list[float]] = {name: [] for name in SIDES}
    for number in range(given.rounds + 1):
        for name, side in SIDES.items():
            data = write_data(place / f"data-{side or 112}", side)
            settings = (f"data.path={data}", f"data.image_cache={place / 'cache'}", f"train.max_steps={given.steps}")
            run = Run(RECIPE, place / f"{data.parent.name}-{number}", (*settings, *SETTINGS, *given.overrides))
            train_missing([run])
            if number:  # the first one fills the cache
                steps, _ = load_run(run.folder)
                taken[name] += [step["step_time"] for step in steps[2:]]
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    small, large = medians.values()
    where = machine()
    rows = [f"| {name} | {seconds:.3f} | {len(taken[name])} |" for name, seconds in medians.items()]
    text = (
        f"# Steps with small and with large images\n\n`{command_line()}` on {where['cpu']}, {where['cores']} cores, "
        f"two ranks, a warm cache.\n\n| images | seconds per step, median | steps |\n|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nRatio: {large / small:.3f}.\n"
    )
    result: dict[str, Any] = {"machine": where, "ratio": large / small, "seconds": medians}
    keep("image_sizes", text, result, given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
