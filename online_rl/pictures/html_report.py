"""One HTML file for a colleague: curves, errors, the table, and reports before and after, beside their images.

Self-contained: pictures are data URIs and nothing is fetched. The template escapes every text.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from online_rl import __version__
from online_rl.monitor.records import Record
from online_rl.monitor.summary import is_supervised
from online_rl.pictures.about_runs import facts
from online_rl.pictures.before_after import open_image, sample_pairs, score_text
from online_rl.pictures.choice import Pair, choose, how_chosen
from online_rl.pictures.final_table import table_rows
from online_rl.pictures.plots import load_run
from online_rl.pictures.supervised_plot import starting_stage
from online_rl.whole_file import whole_file

TEMPLATE = Path(__file__).with_name("report.html.j2")
IMAGE_SIDE = 360  # pixels of a study's longer side


# For a reader who knows X-rays and not reinforcement learning. The categories are GREEN's.
WORDS = (
    ("reward", "What training raises: the judges' scores after length control, each with its weight."),
    (
        "before and after",
        "Evaluations: the policy's one most likely report of each held-out study. Training samples several at a "
        "temperature, less likely ones among them, so that its reward lies below.",
    ),
    ("raw score", "The judge's score before length control took off for long reports."),
    ("verbosity", "Words of the report over words of its reference report; 1 = as long, 2 = twice as long."),
    ("(a) false finding", "The report names a finding that the reference report does not."),
    ("(b) missing finding", "The report leaves out a finding that the reference report names."),
    ("(c) wrong location", "The finding is right, its place in the body is not."),
    ("(d) wrong severity", "The finding is right, how severe it is said to be is not."),
    ("(e) false comparison", "The report compares with a prior study where the reference report does not."),
    ("(f) omitted comparison", "The report leaves out a change from a prior study that the reference report names."),
    (
        "loss, perplexity",
        "Of a supervised stage: how unlikely the policy finds the reference reports, per token; e to the power of the "
        "loss is the perplexity, and 1 would be certainty.",
    ),
    ("KL to the ref_model", "How far the policy has moved from the one that training started with."),
)


@dataclass(frozen=True)
class Run:
    """What the template shows of one run."""

    name: str
    steps: int
    notes: list[str]
    facts: list[tuple[str, str]]
    table: list[tuple[str, str, str, str]]
    samples: list[dict[str, Any]]
    how_chosen: str
    supervised: bool


def describe(name: str, run_dir: Path, train: list[Record], evals: list[Record], notes: list[str]) -> Run:
    first, last = (evals[0], evals[-1]) if len(evals) > 1 else ({}, {})
    rows = table_rows(_numbers(first), _numbers(last))
    table = [(label, f"{old:.3f}", f"{new:.3f}", f"{new - old:+.3f}") for label, old, new in rows]
    pairs, when = sample_pairs(run_dir)
    samples = [_sample(label, pair, run_dir, when) for label, pair in choose(pairs)] if pairs else []
    about = [*facts(run_dir, [*train, *evals]), *_stage(run_dir)]
    supervised = is_supervised(train[-1])
    return Run(name, train[-1]["step"], notes, about, table, samples, how_chosen(pairs), supervised)


def _stage(run_dir: Path) -> list[tuple[str, str]]:
    """One more fact of a run that has started from a supervised stage: how that one fared on held-out studies."""
    folder = starting_stage(run_dir)
    if folder is None:
        return []
    train, evals = load_run(folder)
    rows = table_rows(_numbers(evals[0]), _numbers(evals[-1])) if len(evals) > 1 else []
    told = [f"{label} {old:.3f} to {new:.3f}" for label, old, new in rows]
    return [("supervised stage", "; ".join([f"{folder.resolve().name}, {train[-1]['step']} steps", *told]))]


def write_html(
    title: str, runs: list[Run], pictures: list[tuple[str, Path]], out: Path, compared: Sequence[str] = ()
) -> Path:
    """Fill the template in and write it, whole or not at all.

    pictures  (what it shows, PNG file)
    compared  notes and tables of several runs side by side
    """
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        runs=runs,
        compared=compared,
        words=WORDS,
        pictures=[(caption, data_uri("png", path.read_bytes())) for caption, path in pictures],
        version=__version__,
    )
    with whole_file(out, private=True) as partial:
        partial.write_text(html, encoding="utf-8", errors="replace")  # lone surrogates of a report
    return out


def data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _sample(label: str, pair: Pair, run_dir: Path, when: str) -> dict[str, Any]:
    image = open_image(pair.after.get("image"), run_dir)
    image.thumbnail((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    texts = [pair.after.get("reference"), pair.before.get("candidate"), pair.after.get("candidate")]
    reference, before, after = (str(text or "(empty)") for text in texts)
    return {
        "label": label,
        "change": pair.change,
        "image": data_uri("jpeg", buffer.getvalue()),
        "indication": str(pair.after.get("indication") or ""),
        "columns": [
            ("Reference report", f"{len(reference.split())} words", reference),
            ("Before", score_text(pair.before), before),
            (when, score_text(pair.after), after),
        ],
    }


def _numbers(record: Record) -> dict[str, float]:
    return {name: value for name, value in record.items() if isinstance(value, int | float)}
