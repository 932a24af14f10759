"""Several runs in the same axes: reward and length with their spread, and where each run's time goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from online_rl.errors import DataError
from online_rl.monitor.records import Record
from online_rl.monitor.summary import time_parts
from online_rl.pictures.about_runs import config_of, differences, rewards_differ
from online_rl.pictures.before_after import plot_before_after
from online_rl.pictures.error_plot import errors_figure
from online_rl.pictures.plots import load_run
from online_rl.pictures.style import (
    INK,
    MUTED,
    NOTE,
    SPLIT_COLOURS,
    TIGHT,
    curve,
    decile_band,
    finish,
    finite,
    length_band,
    new_figure,
    points,
    save,
    spread_band,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RUN_COLOURS = ["#2563eb", "#d97706", "#059669", "#a855f7", "#dc2626", "#0891b2", "#65a30d", "#64748b"]
MOST_BANDS = 3  # runs whose spread is drawn; of more, the bands would hide each other
NAME = 44  # characters
NARROW = 0.08  # of the longest bar; a part below it has no room for its share
Runs = dict[str, tuple[list[Record], list[Record]]]


def plot_comparison(runs: list[Path], out: Path) -> list[Path]:
    """Write `out`; beside it `errors.png` where judges tell errors apart, and `before_after_<run>.png` of every run
    that has kept samples. Returns what was written."""
    if not runs:
        raise DataError("plot_comparison: no run folder was given; name at least one folder that holds metrics.jsonl.")
    out, folders = Path(out), labels([Path(run) for run in runs])
    loaded = {name: load_run(folder) for name, folder in folders.items()}
    with style():
        alike = not rewards_differ(differences({name: config_of(folder) for name, folder in folders.items()}))
        written = [save(comparison_figure(loaded, alike), out)]
        errors = errors_figure(loaded)
        written += [save(errors, out.with_name("errors.png"))] if errors else []
    names = {name: out.with_name(f"before_after_{name.replace('/', '-')}.png") for name in folders}
    samples = [plot_before_after(folder, names[name], shortened(name)) for name, folder in folders.items()]
    return written + [picture for picture in samples if picture]


def labels(folders: list[Path]) -> dict[str, Path]:
    """Folder names, or as much of the path as tells them apart."""
    resolved = list(dict.fromkeys(folder.resolve() for folder in folders))
    depth = 1
    while len({folder.parts[-depth:] for folder in resolved}) < len(resolved):
        depth += 1
    return {"/".join(folder.parts[-depth:]): folder for folder in resolved}


def comparison_figure(runs: Runs, same_reward: bool = True) -> Figure:
    """Above reward and verbosity; below completion length, the time of the steps, and what it is spent on.

    same_reward  whether the runs are rewarded alike; if not, the panel says that its curves are no comparison
    """
    from matplotlib.gridspec import GridSpec

    figure = new_figure("Runs compared", height=9.5 + 0.3 * max(0, len(runs) - 4))
    grid = GridSpec(2, 6, figure=figure)
    reward, verbosity = figure.add_subplot(grid[0, :3]), figure.add_subplot(grid[0, 3:])
    length, seconds = figure.add_subplot(grid[1, :2]), figure.add_subplot(grid[1, 2:4])
    for (train, evals), colour in zip(runs.values(), colours(runs), strict=True):
        if len(runs) <= MOST_BANDS:
            spread_band(reward, train, colour)
            decile_band(verbosity, train, colour)
        metrics = {"reward": reward, "verbosity/mean": verbosity, "completions/mean_length": length}
        for metric, axes in {**metrics, "step_time": seconds}.items():
            curve(axes, points(train, metric), colour, "run")
            eval_steps, eval_values = points(evals, metric)
            axes.plot(eval_steps, eval_values, "D", color=colour, markeredgecolor="white", markersize=7)
    length_band(verbosity)
    bands = len(runs) <= MOST_BANDS
    finish(reward, "Reward" if same_reward else "Rewards of two kinds", "reward, mean over the step", legend="none")
    reward.set_title(
        "their rewards differ: not comparable"
        if not same_reward
        else "shaded: ± reward_std, within groups"
        if bands
        else "",
        loc="right",
        **NOTE,
    )
    finish(verbosity, "Verbosity", "words / words of the reference report", legend="none")
    shaded = "shaded: 80 % of the reports; " if bands else ""
    verbosity.set_title(f"{shaded}grey: within 20 % of the reference", loc="right", **NOTE)
    finish(length, "Completion length", "tokens, mean over the step", legend="none")
    finish(seconds, "Step time", "seconds", legend="none")
    time_bars(figure.add_subplot(grid[1, 4:]), runs)
    name_runs(figure, runs)
    return figure


def colours(runs: Runs) -> list[str]:
    return [RUN_COLOURS[index % len(RUN_COLOURS)] for index in range(len(runs))]


def name_runs(figure: Figure, runs: Runs) -> None:
    """One legend for all panels, below them."""
    from matplotlib.lines import Line2D

    named = zip(runs, colours(runs), strict=True)
    handles = [Line2D([], [], color=colour, linewidth=2.2, label=name) for name, colour in named]
    if any(evals for _, evals in runs.values()):
        handles.append(Line2D([], [], color=MUTED, marker="D", linestyle="", markersize=7, label="evaluation"))
    longest = max(map(len, runs))
    figure.legend(handles=handles, loc="outside lower left", ncols=max(1, min(len(handles), 150 // (longest + 6))))


def time_bars(axes: Axes, runs: Runs) -> None:
    """One bar per run: mean seconds of a step, by part, with each part's share and the whole behind it."""
    spent = {name: mean_parts(train) for name, (train, _) in runs.items()}
    longest = max((sum(parts.values()) for parts in spent.values()), default=0.0)
    places = range(len(spent))
    left = [0.0] * len(spent)
    for part, colour in SPLIT_COLOURS.items():
        widths = [parts.get(part, 0.0) for parts in spent.values()]
        if any(widths):
            axes.barh(places, widths, left=left, height=0.5, color=colour, label=part)
        for place, (parts, width) in enumerate(zip(spent.values(), widths, strict=True)):
            if longest and width > NARROW * longest:
                share = f"{width / sum(parts.values()):.0%}"
                axes.text(left[place] + width / 2, place, share, ha="center", va="center", fontsize=9, color=INK)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, whole in enumerate(left):
        if whole:
            axes.text(whole, place, f" {whole:.2f} s", va="center", fontsize=10, color=INK)
    finish(axes, "Time per step", "", legend="none")
    if longest:
        axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.15), ncols=5, fontsize=9, **TIGHT)
    axes.set_xlabel("seconds, mean over the run")
    axes.set_xlim(0, 1.25 * longest or 1)
    for place, name, colour in zip(places, spent, colours(runs), strict=True):
        axes.text(0, place - 0.27, shortened(name), va="bottom", fontsize=10, color=colour)
    axes.set_yticks([])
    axes.set_ylim(len(spent) - 0.4, -0.8)  # the first run on top


def shortened(name: str) -> str:
    """A run's name in the width of a panel; of a long one both ends, since seeds stand at the end."""
    return name if len(name) <= NAME else f"{name[: NAME // 2 - 1]}…{name[-(NAME // 2) :]}"


def mean_parts(train: list[Record]) -> dict[str, float]:
    """Part -> seconds, mean over the steps that were timed; "other" is whatever the whole steps took beside."""
    timed = [(parts, finite(record)) for record in train if (parts := time_parts(finite(record)))]
    names = [part for part in SPLIT_COLOURS if any(part in parts for parts, _ in timed)]
    means = {name: sum(parts.get(name, 0.0) for parts, _ in timed) / len(timed) for name in names}
    whole = sum(metrics.get("step_time", 0.0) for _, metrics in timed) / max(1, len(timed))
    rest = whole - sum(means.values())
    return {**means, "other": means.get("other", 0.0) + rest} if rest > 0 else means
