"""Look and drawing helpers that all pictures share: colours, curves, bands, markers, figures without a display."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from online_rl.monitor.records import Record
from online_rl.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


def curve(axes: Axes, series: Points, colour: str, label: str) -> None:
    """Every step faint, the smoothed course strong."""
    steps, values = series
    if not steps:
        return
    axes.plot(steps, values, color=colour, alpha=0.25, linewidth=1.0)
    axes.plot(steps, smooth(values), color=colour, linewidth=2.2, label=label, marker="o" if len(steps) == 1 else None)


def length_band(axes: Axes) -> None:
    """Shade the band in which reports are about as long as their references: 0.8 to 1.2, with a line at 1."""
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
