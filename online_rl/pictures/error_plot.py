"""Errors per report by category, (a) to (f) of GREEN's taxonomy, stacked over training; runs side by side."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from online_rl.monitor.records import Record
from online_rl.pictures.final_table import ERRORS
from online_rl.pictures.style import Points, finish, new_figure, points, smooth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CATEGORIES = ERRORS[:6]  # the seventh counts what is right
COLOURS = ("#dc2626", "#2563eb", "#d97706", "#7c3aed", "#0891b2", "#64748b")
MOST_COLUMNS = 3
Runs = dict[str, tuple[list[Record], list[Record]]]


def error_series(records: list[Record]) -> dict[str, dict[str, Points]]:
    """Judge -> category -> steps and mean errors per report, of the judges that tell errors apart."""

    judges = {name.split("/")[1] for record in records for name in record if is_error(name)}
    series: dict[str, dict[str, Points]] = {}
    for judge in sorted(judges):
        found = {category: points(records, f"judge/{judge}/{category}") for category in CATEGORIES}
        series[judge] = {category: (steps, values) for category, (steps, values) in found.items() if steps}
    return series


def is_error(metric: str) -> bool:
    """`judge/<judge>/<one of the six categories>`"""
    parts = metric.split("/")
    return len(parts) == 3 and parts[0] == "judge" and parts[2] in CATEGORIES


def errors_figure(runs: Runs) -> Figure | None:
    """One panel per run and judge, all with the same axes; None where no judge tells errors apart."""

    found = {name: error_series(train) for name, (train, _) in runs.items()}
    panels = [(name, judge) for judge in sorted({j for series in found.values() for j in series}) for name in found]
    panels = [(name, judge) for name, judge in panels if judge in found[name]]
    if not panels:
        return None
    columns = min(len(panels), MOST_COLUMNS)
    rows = -(-len(panels) // columns)
    figure = new_figure("Errors per report by category", width=14, height=1.4 + (4.5 if columns < 3 else 3.8) * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, (name, judge) in zip(grid.flat, panels, strict=False):
        stack(axes, found[name][judge])
        title = "\n".join(textwrap.wrap(f"{name}, judge {judge}", 110 // columns))
        finish(axes, title, "mean errors per report", legend="none")
        axes.tick_params(labelbottom=True, labelleft=True)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    shown = {
        label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(shown.values(), shown, loc="outside lower left", ncols=len(CATEGORIES))
    return figure


def stack(axes: object, series: dict[str, Points]) -> None:
    """Smoothed and stacked over the steps that every category has."""

    steps = sorted(set.intersection(*(set(points[0]) for points in series.values())))
    values = {category: dict(zip(*points, strict=True)) for category, points in series.items()}
    stacks = [smooth([values[category][step] for step in steps]) for category in series]
    if len(steps) == 1:  # an area needs two ends
        steps, stacks = [steps[0] - 1, *steps], [one * 2 for one in stacks]
    colours = [COLOURS[CATEGORIES.index(category)] for category in series]
    names = [f"({'abcdef'[CATEGORIES.index(category)]}) {category.replace('_', ' ')}" for category in series]
    axes.stackplot(steps, stacks, labels=names, colors=colours, alpha=0.85)  # type: ignore[attr-defined]
    axes.margins(x=0)  # type: ignore[attr-defined]
    axes.set_ylim(bottom=0)  # type: ignore[attr-defined]
