"""The tables of an evaluation for a terminal of any width; on a narrow one nothing is cut off, lines wrap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from online_rl.commands.eval.summary import label_of, shown

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDE = 72  # columns that a table with intervals beside the means takes
FEW = 20  # patients; below, a bootstrap's intervals are too narrow (benchmarks/results/eval_intervals.md)


def tables(report: dict[str, Any], width: int) -> list[RenderableType]:
    """One policy: its means. Two: both means and the difference, then who wins.

    report  what `evaluate_policies` returns
    width   columns of the terminal
    """
    from rich.text import Text

    policies = report["policies"]
    ours, theirs = policies[0], policies[1] if len(policies) > 1 else None
    shown_metrics = [m for m in shown(ours["metrics"]) if theirs is None or m in theirs["metrics"]]
    parts: list[RenderableType] = [Text(f"greedy reports of {ours['studies']} studies, {ours['split']} split")]
    if theirs is None:
        parts.append(_means(ours, shown_metrics))
    else:
        parts.append(_comparison(ours, theirs, report["comparison"], shown_metrics, width))
        parts += [Text(line) for line in _wins(report["comparison"])]
    parts += [Text(_coverage(policy, len(policies) > 1)) for policy in policies]
    checks = [(policy["label"], policy["image_check"]["verdict"]) for policy in policies if "image_check" in policy]
    parts += [Text(f"{label}: {verdict}") for label, verdict in checks]
    estimates = ours["metrics"] if theirs is None else report["comparison"]["differences"]
    if any(m in estimates and estimates[m]["low"] is None for m in shown_metrics):
        parts.append(Text("-: equal in all studies, or of one patient, so that there is nothing to resample"))
    if ours["patients"] < FEW:
        parts.append(Text(f"{ours['patients']} patients: intervals from so few are too narrow."))
    return parts


def _means(policy: dict[str, Any], metrics: Sequence[str]) -> RenderableType:
    table = _table(["", "mean", "95 % interval"])
    judges = _judges(policy["metrics"])
    for metric in metrics:
        found = policy["metrics"][metric]
        table.add_row(label_of(metric, judges), _number(found["mean"]), _interval(found))
    return table


def _comparison(
    ours: dict[str, Any], theirs: dict[str, Any], comparison: dict[str, Any], metrics: Sequence[str], width: int
) -> RenderableType:
    from rich.console import Group

    judges = _judges(ours["metrics"])
    labels = [label_of(metric, judges) for metric in metrics]
    means = [[_number(policy["metrics"][metric]["mean"]) for policy in (ours, theirs)] for metric in metrics]
    found = [comparison["differences"].get(metric) for metric in metrics]
    changes = [["-", "-"] if d is None else [_number(d["mean"], "+"), _interval(d, "+")] for d in found]
    names = [ours["label"], theirs["label"]]
    if width >= WIDE:
        table = _table(["", *names, "difference", "95 % interval"])
        for label, values, change in zip(labels, means, changes, strict=True):
            table.add_row(label, *values, *change)
        return table
    first, second = _table(["", *names]), _table(["", "difference", "95 % interval"])
    for label, values, change in zip(labels, means, changes, strict=True):
        first.add_row(label, *values)
        second.add_row(label, *change)
    return Group(first, "", second)


def _wins(comparison: dict[str, Any]) -> list[str]:
    only_judge = sum(name.startswith("rewards/") for name in comparison["win_rates"]) == 1
    lines = []
    for name, won in comparison["win_rates"].items():
        if only_judge and name.startswith("rewards/"):
            continue
        if won["rate"] is None:
            lines.append(f"{label_of(name, 1)}: no study has a score of both")
            continue
        interval = _interval(won["rate"])
        counts = f"{comparison['of']} wins {won['wins']}, ties {won['ties']}, loses {won['losses']}"
        rate = f"{won['rate']['mean']:.3f}{f' ({interval})' if interval != '-' else ''}"
        lines.append(f"{label_of(name, 1)}: {counts}; win rate {rate} with ties as half")
    return lines


def _coverage(policy: dict[str, Any], named: bool) -> str:
    """Scored and not: what was not is in no mean of a score, never a 0."""
    others = {
        "unscorable": "unscorable",
        "failed": "not reached by a judge",
        "bad_image": "with an image that cannot be decoded",
    }
    missing = [f"{policy[key]} {words}" for key, words in others.items() if policy[key]]
    start = f"{policy['label']}: " if named else ""
    rest = f"; left out of every score: {', '.join(missing)}" if missing else ", 0 unscorable"
    return f"{start}{policy['scored']} of {policy['studies']} scored{rest}"


def _table(headings: Sequence[str]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", overflow="fold", no_wrap=False)
    return table


def _judges(metrics: dict[str, Any]) -> int:
    return len({m.split("/")[1] for m in metrics if m.endswith("/mean") and m.startswith(("rewards/", "guards/"))})


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.3f}" if abs(value) < 1000 else f"{value:{sign}.0f}"


def _interval(found: dict[str, Any], sign: str = "") -> str:
    if found["low"] is None:
        return "-"
    return f"{_number(found['low'], sign)}..{_number(found['high'], sign)}"
