"""`eval.png`: scores and errors with their intervals, and for two policies every study's difference in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from online_rl.commands.eval.summary import Evaluated, label_of, measures, shown
from online_rl.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#2563eb", "#94a3b8")


def draw(report: dict[str, Any], evaluated: Sequence[Evaluated], out: Path) -> Path:
    """Needs no display. Raises DataError where `out` cannot be written."""
    from online_rl.pictures.style import new_figure, save, style

    policies = report["policies"]
    metrics = [m for m in shown(policies[0]["metrics"]) if all(m in p["metrics"] for p in policies)]
    scores = [m for m in metrics if not m.startswith(("judge/", "guards/", "completions/")) or m.endswith("/mean")]
    errors = [m for m in metrics if m.startswith(("judge/", "guards/")) and m not in scores]
    groups = [group for group in (scores, errors) if group]
    with style():
        title = f"Greedy reports of {policies[0]['studies']} studies, {policies[0]['split']} split"
        panels = len(groups) + 1
        figure = new_figure(title, width=6 * panels, height=1.8 + 0.5 * max(map(len, groups)))
        axes = figure.subplots(1, panels, squeeze=False)[0]
        for place, group, heading in zip(axes, groups, ("Scores, verbosity", "Per report"), strict=False):
            _intervals(place, policies, group, heading)
        _distribution(axes[-1], evaluated)
        if len(policies) > 1:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=2)
        try:
            return save(figure, out)
        except OSError as problem:
            raise DataError(f"{out}: cannot be written ({problem.strerror}). The scores themselves are kept.") from None


def _intervals(axes: Axes, policies: Sequence[dict[str, Any]], metrics: Sequence[str], heading: str) -> None:
    judges = len({m.split("/")[1] for m in metrics if m.startswith(("judge/", "guards/"))})
    shift = 0.16 if len(policies) > 1 else 0.0
    for policy, colour, sign in zip(policies, COLOURS, (-1, 1), strict=False):
        for row, metric in enumerate(metrics):
            found = policy["metrics"][metric]
            y = row + sign * shift
            if found["low"] is not None:
                axes.plot([found["low"], found["high"]], [y, y], color=colour, linewidth=3, alpha=0.45)
            axes.plot(found["mean"], y, "o", color=colour, label=policy["label"] if row == 0 else None)
    axes.set_yticks(range(len(metrics)), [label_of(metric, judges) for metric in metrics])
    axes.invert_yaxis()
    axes.set_title(f"{heading}, 95 % intervals")
    axes.margins(y=0.08)


def _distribution(axes: Axes, evaluated: Sequence[Evaluated]) -> None:
    """One policy: how many studies have which reward. Two: each study's difference of reward, in order."""
    rewards = [dict(zip((r["study_id"] for r in e.rows), measures(e.rows)["reward"], strict=True)) for e in evaluated]
    if len(rewards) == 1:
        axes.hist([v for v in rewards[0].values() if v is not None], bins=20, color=COLOURS[0])
        axes.set(xlabel="reward", ylabel="studies")
        axes.set_title("Reward of each study")
        return
    ours, theirs = rewards
    pairs = [(ours[study], theirs.get(study)) for study in ours]
    changes = sorted(a - b for a, b in pairs if a is not None and b is not None)
    colours = ["#059669" if change > 0 else "#dc2626" for change in changes]
    axes.bar(range(len(changes)), changes, width=1.0, color=colours)
    axes.axhline(0, color="#475569", linewidth=0.8)
    axes.set(
        xlabel="studies, in order of the difference", ylabel=f"reward, {evaluated[0].label} less {evaluated[1].label}"
    )
    axes.set_title("Difference of each study")
