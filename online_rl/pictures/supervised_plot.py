"""The curves of a supervised stage, and which stage an online run has started from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from online_rl.config.runs import MODEL
from online_rl.monitor.records import Record, read_records
from online_rl.monitor.summary import is_supervised
from online_rl.pictures.about_runs import config_of
from online_rl.pictures.style import BLUE, GREEN, INK, ORANGE, curve, eval_markers, finish, new_figure, points

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def supervised_figure(train: list[Record], evals: list[Record], title: str) -> Figure:
    """Loss large, beside it token accuracy; below perplexity on held-out studies, gradient norm and learning rate."""
    from matplotlib.gridspec import GridSpec

    figure = new_figure(f"{title}, supervised stage, {train[-1]['step']} steps")
    grid = GridSpec(2, 3, figure=figure)
    loss = figure.add_subplot(grid[0, :2])
    curve(loss, points(train, "loss"), BLUE, "training loss")
    eval_markers(loss, points(evals, "loss"), points(train, "loss"), "{:.3f}")
    finish(loss, "Loss", "nats per token of the reference reports")

    accuracy = figure.add_subplot(grid[0, 2])
    name = "mean_token_accuracy"
    curve(accuracy, points(train, name), GREEN, "training")
    eval_markers(accuracy, points(evals, name), points(train, name), "{:.3f}", "evaluation")
    finish(accuracy, "Token accuracy", "share of tokens that are the most likely one")

    perplexity = figure.add_subplot(grid[1, 0])
    steps, values = points(evals, "perplexity")
    perplexity.plot(steps, values, color=ORANGE, linewidth=2.2)
    eval_markers(perplexity, (steps, values), points(train, "loss"), "{:.2f}")
    finish(perplexity, "Perplexity", "of held-out reference reports", legend="none")

    for place, key, about, unit in (
        (1, "grad_norm", "Gradient norm", "before clipping"),
        (2, "learning_rate", "Learning rate", "of the step"),
    ):
        axes = figure.add_subplot(grid[1, place])
        curve(axes, points(train, key), INK, "training")
        finish(axes, about, unit, legend="none")
    return figure


def starting_stage(run_dir: Path) -> Path | None:
    """The folder of the supervised stage whose policy this run has started from; None if it started from another, or
    the folder is not here (a relative path counts from where the run was started)."""
    cfg = config_of(run_dir)
    if cfg is None or Path(cfg.model.path).name != MODEL:
        return None
    folder = Path(cfg.model.path).parent
    path = folder / "metrics.jsonl"
    return folder if path.is_file() and any(is_supervised(record) for record in read_records(path)) else None
