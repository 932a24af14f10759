"""Pictures of a run from its folder: training curves, errors, reports before and after."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from online_rl.errors import DataError
from online_rl.monitor.records import Record, read_records
from online_rl.monitor.summary import is_supervised, raw_score, time_split
from online_rl.pictures.before_after import plot_before_after
from online_rl.pictures.error_plot import errors_figure
from online_rl.pictures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    SPLIT_COLOURS,
    curve,
    decile_band,
    eval_markers,
    finish,
    finite,
    length_band,
    new_figure,
    points,
    save,
    smooth,
    spread_band,
    style,
)
from online_rl.pictures.supervised_plot import starting_stage, supervised_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image


def plot_run(run_dir: Path, place: Path | None = None) -> list[Path]:
    """Write `curves.png`, and `errors.png`, `before_after.png` and `supervised.png`, the curves of the supervised stage
    that the run started from, where the run has what they need.

    place  the folder to write to; None = `plots` in the run folder

    Returns what was written.
    """
    run_dir = Path(run_dir)
    place = place or run_dir / "plots"
    runs = {run_dir.resolve().name: load_run(run_dir)}
    [(name, (train, evals))] = runs.items()
    with style():
        if is_supervised(train[-1]):
            return [save(supervised_figure(train, evals, name), place / "curves.png")]
        written = [save(curves_figure(train, evals, name), place / "curves.png")]
        errors = errors_figure(runs)
        written += [save(errors, place / "errors.png")] if errors else []
        stage = starting_stage(run_dir)
        if stage is not None:
            figure = supervised_figure(*load_run(stage), stage.resolve().name)
            written.append(save(figure, place / "supervised.png"))
    before_after = plot_before_after(run_dir, place / "before_after.png")
    return written + ([before_after] if before_after else [])


def errors_picture(run_dir: Path) -> Image | None:
    """The errors of the run so far, as an image; None before the first step, or where no judge tells errors apart."""
    from PIL import Image

    try:
        run = load_run(run_dir)
    except DataError:
        return None
    with style():
        figure = errors_figure({run_dir.resolve().name: run})
        if figure is None:
            return None
        buffer = io.BytesIO()
        figure.savefig(buffer, facecolor="white")
    return Image.open(buffer)


def load_run(run_dir: Path) -> tuple[list[Record], list[Record]]:
    """The training records and the evaluation records; of two with the same step the later one counts."""
    path = run_dir / "metrics.jsonl"
    if not run_dir.is_dir():
        raise DataError(f"{run_dir}: no such folder, expected the folder of a run (run.dir). Check the path.")
    if not path.is_file():
        events = any(run_dir.rglob("events.out.tfevents.*"))
        found = "TensorBoard events but no metrics.jsonl" if events else "no metrics.jsonl"
        raise DataError(
            f"{run_dir}: {found} found, expected the folder of a run that has started (run.dir). "
            f"{'Look at it by launch/tensorboard.sh' if events else 'Check the path'}, or start the run first."
        )
    train: dict[int, Record] = {}
    evals: dict[int, Record] = {}
    for record in read_records(path):
        if not record.get("eval"):
            train[record["step"]] = record
        elif record.get("split", "eval") == "eval":
            evals[record["step"]] = record
    if not train:
        raise DataError(
            f"{path}: found {len(evals)} evaluations and 0 training steps, expected at least 1 step. "
            "Wait for the first step to end, or look at the console of the run for why it stopped."
        )
    return [train[step] for step in sorted(train)], [evals[step] for step in sorted(evals)]


def curves_figure(train: list[Record], evals: list[Record], title: str) -> Figure:
    """Reward large, beside it verbosity; below length, the policy's drift, and where the time goes."""
    from matplotlib.gridspec import GridSpec

    figure = new_figure(f"{title}, {train[-1]['step']} steps")
    grid = GridSpec(2, 3, figure=figure)
    reward_panel(figure.add_subplot(grid[0, :2]), train, evals)

    verbosity = figure.add_subplot(grid[0, 2])
    length_band(verbosity)
    decile_band(verbosity, train, ORANGE, "80 % of the reports")
    curve(verbosity, points(train, "verbosity/mean"), ORANGE, "training, mean")
    eval_markers(verbosity, points(evals, "verbosity/mean"), points(train, "verbosity/mean"), "{:.2f}", "evaluation")
    finish(verbosity, "Verbosity", "words / words of the reference report", legend="two rows below")

    length = figure.add_subplot(grid[1, 0])
    curve(length, points(train, "completions/mean_length"), GREEN, "training")
    eval_markers(length, points(evals, "completions/mean_length"), points(train, "completions/mean_length"), "{:.0f}")
    finish(length, "Completion length", "tokens, mean over the step", legend="none")

    drift_panel(figure.add_subplot(grid[1, 1]), train)
    time_panel(figure.add_subplot(grid[1, 2]), train)
    return figure


def reward_panel(axes: Axes, train: list[Record], evals: list[Record]) -> None:
    steps, reward = points(train, "reward")
    spread_band(axes, train, BLUE, "spread within groups (± reward_std)")
    curve(axes, (steps, reward), BLUE, "training reward")
    raw = points([{"step": record["step"], "raw": raw_score(record)} for record in train], "raw")
    if raw[0] and raw[1] != reward:
        axes.plot(raw[0], smooth(raw[1]), color=GREY, linewidth=1.6, label="raw score, before length control")
    eval_markers(axes, points(evals, "reward"), (steps, reward), "{:.3f}")
    finish(axes, "Reward", "reward, mean over the step")


def drift_panel(axes: Axes, train: list[Record]) -> None:
    """KL to the ref_model; a run that measures none shows its DPO accuracy, its entropy or its gradient norm."""
    choices = [
        ("kl", "KL to the ref_model", "nats per token"),
        ("rewards/accuracies", "DPO accuracy", "share of pairs ranked as the judge does"),
        ("entropy", "Entropy of the policy", "nats per token"),
        ("grad_norm", "Gradient norm", "before clipping"),
    ]
    for name, title, unit in choices:
        steps, values = points(train, name)
        if any(values):
            curve(axes, (steps, values), INK, "training")
            return finish(axes, title, unit)
    finish(axes, "KL to the ref_model", "nats per token")


def time_panel(axes: Axes, train: list[Record]) -> None:
    rows = [(record["step"], time_split(finite(record))) for record in train]
    rows = [(step, split) for step, split in rows if split]
    parts = [part for part in SPLIT_COLOURS if any(part in split for _, split in rows)]
    if rows:
        steps = [step for step, _ in rows] if len(rows) > 1 else [rows[0][0] - 1, rows[0][0]]
        stacks = [[100 * split.get(part, 0.0) for _, split in rows] for part in parts]
        stacks = [stack if len(rows) > 1 else stack * 2 for stack in stacks]
        stacks = [smooth(stack) for stack in stacks]
        bands = axes.stackplot(steps, stacks, colors=[SPLIT_COLOURS[part] for part in parts], alpha=0.9)
        means = [sum(stack) / len(stack) for stack in stacks]
        for band, part, mean in zip(bands, parts, means, strict=True):
            band.set_label(f"{part} {mean:.0f}%")
        axes.set_ylim(0, 100)
        axes.set_xlim(steps[0], steps[-1])
    seconds = points(train, "step_time")[1]
    mean_time = f"Time, {sum(seconds) / len(seconds):.2f} s per step" if seconds else "Time"
    finish(axes, mean_time, "share of the step (%)", legend="below")
