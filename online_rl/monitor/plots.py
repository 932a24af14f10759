"""Pictures of a run from its folder: training curves, errors, reports before and after; and what all pictures share."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from online_rl.errors import DataError
from online_rl.monitor.before_after import plot_before_after
from online_rl.monitor.error_plot import errors_figure
from online_rl.monitor.records import Record, read_records
from online_rl.monitor.summary import raw_score, time_split
from online_rl.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

DPI = 100
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelcolor": "#475569",
    "axes.edgecolor": "#94a3b8",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.ymargin": 0.12,
    "axes.axisbelow": True,
    "grid.color": "#e2e8f0",
    "grid.linewidth": 0.8,
    "xtick.color": "#475569",
    "ytick.color": "#475569",
    "legend.frameon": False,
    "legend.fontsize": 10,
}
INK, BLUE, ORANGE, GREEN, GREY, MUTED = "#0f172a", "#2563eb", "#d97706", "#059669", "#94a3b8", "#64748b"
SPLIT_COLOURS = {"generate": "#0ea5e9", "judge": "#a855f7", "update": "#10b981", "sync": "#f59e0b", "other": "#cbd5e1"}
SAME_LENGTH = (0.8, 1.2)  # verbosity
NOTE: dict[str, Any] = {"fontsize": 10, "fontweight": "normal", "color": MUTED}
TIGHT = {"columnspacing": 0.7, "handlelength": 0.7, "handletextpad": 0.3}
Points = tuple[list[int], list[float]]  # steps and values of the same length, in order of step


def plot_run(run_dir: Path, place: Path | None = None) -> list[Path]:
    """Write `curves.png`, and `errors.png` and `before_after.png` where the run has what they need.

    place  the folder to write to; None = `plots` in the run folder

    Returns what was written.
    """
    run_dir = Path(run_dir)
    place = place or run_dir / "plots"
    runs = {run_dir.resolve().name: load_run(run_dir)}
    [(name, (train, evals))] = runs.items()
    with style():
        written = [save(curves_figure(train, evals, name), place / "curves.png")]
        errors = errors_figure(runs)
        written += [save(errors, place / "errors.png")] if errors else []
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


def spread_band(axes: Axes, train: list[Record], colour: str, label: str | None = None) -> None:
    """The smoothed reward, one standard deviation within groups to either side."""
    band = [(record["step"], record["reward"], record["reward_std"]) for record in train if numbers_in(record)]
    if len(band) > 1:
        middle, spread = smooth([value for _, value, _ in band]), smooth([std for _, _, std in band])
        low = [m - s for m, s in zip(middle, spread, strict=True)]
        high = [m + s for m, s in zip(middle, spread, strict=True)]
        axes.fill_between([step for step, _, _ in band], low, high, color=colour, alpha=0.12, linewidth=0, label=label)


def decile_band(axes: Axes, train: list[Record], colour: str, label: str | None = None) -> None:
    """The verbosity between the shortest and the longest tenth of a step's candidates."""
    steps, low = points(train, "verbosity/p10")
    high_steps, high = points(train, "verbosity/p90")
    if len(steps) > 1 and steps == high_steps:
        axes.fill_between(steps, smooth(low), smooth(high), color=colour, alpha=0.12, linewidth=0, label=label)


def numbers_in(record: Record) -> bool:
    return isinstance(record.get("reward"), int | float) and isinstance(record.get("reward_std"), int | float)


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


def curve(axes: Axes, series: Points, colour: str, label: str) -> None:
    """Every step faint, the smoothed course strong."""
    steps, values = series
    if not steps:
        return
    axes.plot(steps, values, color=colour, alpha=0.25, linewidth=1.0)
    axes.plot(steps, smooth(values), color=colour, linewidth=2.2, label=label, marker="o" if len(steps) == 1 else None)


def length_band(axes: Axes) -> None:
    """Where reports are about as long as their reference reports: 0.8 to 1.2, with a line at 1."""
    axes.axhspan(*SAME_LENGTH, color=GREY, alpha=0.18, linewidth=0, label="within 20 % of the reference", zorder=0)
    axes.axhline(1.0, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2, alpha=0.7)


def eval_markers(
    axes: Axes, series: Points, training: Points, form: str, label: str = "evaluation, held-out studies"
) -> None:
    """A diamond per evaluation; the values of the first and the last stand above the panel, where no curve is."""
    steps, values = series
    if not steps:
        return
    look: dict[str, Any] = {"color": INK, "markersize": 8, "markeredgecolor": "white", "clip_on": False, "zorder": 5}
    axes.plot(steps, values, "D", label=label, **look)
    words = []
    for index in sorted({0, len(steps) - 1}):
        step = steps[index]
        last = bool(training[0]) and step >= training[0][-1]
        word = "before" if step == 0 else "after" if last else f"step {step}"
        words.append(f"{word} {form.format(values[index])}")
    axes.set_title(f"\N{BLACK DIAMOND} {', '.join(words)}", loc="right", **NOTE)


def finish(axes: Axes, title: str, unit: str, legend: str = "best") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title)
    axes.set_ylabel(unit)
    axes.set_xlabel("training step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10]))
    handles, _ = axes.get_legend_handles_labels()
    if not axes.has_data():
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=GREY)
    elif legend == "below":
        axes.legend(loc="upper center", bbox_to_anchor=(0.46, -0.15), ncols=5, fontsize=9, **TIGHT)
    elif legend == "two rows below":
        axes.legend(loc="upper center", bbox_to_anchor=(0.46, -0.15), ncols=2, fontsize=9, **TIGHT)
    elif legend == "best" and len(handles) > 1:
        axes.legend(loc="best")


def points(records: list[Record], name: str) -> Points:
    """The steps where `name` is a number; null stands for a value that was not finite and leaves a gap."""
    pairs = [(record["step"], float(record[name])) for record in records if name in finite(record)]
    return [step for step, _ in pairs], [value for _, value in pairs]


def finite(record: Record) -> dict[str, float]:
    return {
        name: value
        for name, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def smooth(values: list[float]) -> list[float]:
    """Centred mean over about a twentieth of the run (at least 5 steps); the window shrinks at both ends alike."""
    half = max(2, len(values) // 40)
    out = []
    for i in range(len(values)):
        reach = min(half, i, len(values) - 1 - i)
        window = values[i - reach : i + reach + 1]
        out.append(sum(window) / len(window))
    return out


def style() -> Any:
    import matplotlib

    return matplotlib.rc_context(STYLE)


def new_figure(title: str, width: float = 14, height: float = 9) -> Any:
    """A figure outside pyplot, so that nothing global is touched; sizes in hundreds of pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(  # type: ignore[union-attr, call-arg]
        w_pad=0.12, h_pad=0.12, wspace=0.03, hspace=0.04
    )
    figure.suptitle(title, x=0.012, ha="left", fontsize=16, fontweight="bold", color=INK)
    return figure


def save(figure: Figure, path: Path) -> Path:
    with whole_file(path) as partial:
        figure.savefig(partial, facecolor="white")
    return path
