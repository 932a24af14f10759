"""What a scored file says as a whole: how many, how good, and which errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

# GREEN's six categories, by the names of the judges' parts.
CATEGORIES = {
    "false_finding": "(a) false finding",
    "missing_finding": "(b) missing finding",
    "wrong_location": "(c) wrong location",
    "wrong_severity": "(d) wrong severity",
    "false_comparison": "(e) false comparison",
    "omitted_comparison": "(f) omitted comparison",
}


@dataclass(frozen=True)
class Category:
    """Errors of one kind: their number, and the number of pairs that have any."""

    label: str
    errors: float
    pairs: int


@dataclass(frozen=True)
class Summary:
    """mean is over the scored pairs, None if there are none; parts are means of what is counted beside errors."""

    pairs: int
    scored: int
    mean: float | None
    categories: list[Category]
    parts: dict[str, float]

    @property
    def unscorable(self) -> int:
        return self.pairs - self.scored


def errors_of(row: dict[str, Any]) -> dict[str, float]:
    """The categories that one row has errors in, by label."""
    parts = row["parts"]
    return {label: parts[name] for name, label in CATEGORIES.items() if parts.get(name, 0) > 0}


def summarise(rows: Sequence[dict[str, Any]]) -> Summary:
    """Over the rows of an output file."""
    scored = [row for row in rows if row["score"] is not None]
    counted = [name for name in CATEGORIES if any(name in row["parts"] for row in scored)]
    categories = []
    for name in counted:
        numbers = [row["parts"].get(name, 0) for row in scored]
        categories.append(Category(CATEGORIES[name], sum(numbers), sum(n > 0 for n in numbers)))
    others = dict.fromkeys(name for row in scored for name in row["parts"] if name not in CATEGORIES)
    parts = {name: fmean(row["parts"][name] for row in scored if name in row["parts"]) for name in others}
    mean = fmean(row["score"] for row in scored) if scored else None
    return Summary(len(rows), len(scored), mean, categories, parts)


def tables(summary: Summary) -> list[RenderableType]:
    """For the terminal: the errors by category, and one line of everything else."""
    from rich.table import Table
    from rich.text import Text

    shown: list[RenderableType] = []
    if summary.categories:
        table = Table("error", box=None, pad_edge=False)
        for heading in ("errors", "per pair", "pairs with any"):
            table.add_column(heading, justify="right")
        for c in summary.categories:
            share = c.pairs / summary.scored
            table.add_row(c.label, f"{c.errors:g}", f"{c.errors / summary.scored:.2f}", f"{c.pairs} ({share:.0%})")
        shown.append(table)
    if summary.parts:
        shown.append(Text("means: " + ", ".join(f"{name} {value:.3g}" for name, value in summary.parts.items())))
    mean = "no pair could be scored" if summary.mean is None else f"mean score {summary.mean:.4f}"
    shown.append(Text(f"{mean}; {summary.pairs} pairs, {summary.scored} scored, {summary.unscorable} unscorable"))
    return shown
