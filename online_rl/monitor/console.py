"""The console of a run: a live display on a terminal, one greppable line per step anywhere else."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Protocol

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.errors import LiveError
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from online_rl.monitor.summary import Eta, duration, eval_line, fields, raw_score, step_line, time_split

WIDE = 72  # columns from which the table is laid out side by side
COLOURS = {"generate": "cyan", "judge": "magenta", "update": "green", "sync": "yellow", "other": "bright_black"}
CURVES = {"reward": "reward", "raw": "raw", "verbosity": "verbosity/mean", "length": "completions/mean_length"}


class Display(Protocol):
    def step(self, step: int, metrics: dict[str, float]) -> None: ...
    def evaluation(self, step: int, metrics: dict[str, float], split: str) -> None: ...
    def message(self, line: str) -> None: ...
    def enter(self, phase: str) -> None: ...
    def leave(self) -> None: ...
    def close(self) -> None: ...


def open_display(max_steps: int, start_step: int, title: str) -> Display:
    """Live on a terminal that can draw it; lines for pipes, files, CI and dumb terminals."""
    console = Console()
    live = (
        console.is_terminal
        and not console.is_dumb_terminal
        and not os.environ.get("CI")
        and "utf" in console.encoding.lower()
    )
    if live:
        with suppress(LiveError):  # something else draws on this terminal already
            return LiveDisplay(console, max_steps, start_step, title)
    return LineDisplay(max_steps, title)


class LineDisplay:
    """One line per step, never wrapped, flushed at once."""

    def __init__(self, max_steps: int, title: str) -> None:
        self._max_steps = max_steps
        self._eta = Eta(max_steps)
        self._title = title  # printed before the first line

    def step(self, step: int, metrics: dict[str, float]) -> None:
        eta_s = self._eta.update(step, metrics.get("step_time", math.nan))
        self.message(step_line(step, self._max_steps, metrics, eta_s))

    def evaluation(self, step: int, metrics: dict[str, float], split: str) -> None:
        self.message(eval_line(step, metrics, split))

    def message(self, line: str) -> None:
        title, self._title = self._title, ""
        for text in filter(None, (title, line)):
            encoding = sys.stdout.encoding or "utf-8"
            print(text.encode(encoding, "replace").decode(encoding), flush=True)

    def enter(self, phase: str) -> None: ...

    def leave(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class View:
    """What the live display shows now. Replaced whole, because the refresh thread reads it at any moment."""

    title: str
    max_steps: int
    step: int
    metrics: dict[str, float] = field(default_factory=dict)
    eta_s: float | None = None
    curves: dict[str, tuple[float, ...]] = field(default_factory=dict)
    phase: str = ""
    since: float = 0.0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        yield Rule(Text(self.title, "bold", overflow="ellipsis"), style="bright_black", align="left")
        yield progress(self, width)
        if self.metrics:
            yield numbers(self, width)
        if split := time_split(self.metrics):
            yield time_bar(split, min(width, WIDE))
        yield Spinner("dots", Text(self._now(), "dim"), style="cyan") if self.phase else Text(" ")

    def _now(self) -> str:
        running = time.monotonic() - self.since
        return f"{self.phase}  {duration(running)}" if running >= 1 else self.phase


class LiveDisplay:
    """Progress, a compact table, the time split and the phase now running, redrawn in place."""

    def __init__(self, console: Console, max_steps: int, start_step: int, title: str) -> None:
        self._console = console
        self._view = View(title or "training", max_steps, start_step)
        self._eta = Eta(max_steps)
        self._curves: dict[str, deque[float]] = {label: deque(maxlen=200) for label in CURVES}
        self._phases: list[tuple[str, float]] = []
        self._live = Live(get_renderable=lambda: self._view, console=console, refresh_per_second=4)
        self._live.start()

    def step(self, step: int, metrics: dict[str, float]) -> None:
        for label, name in CURVES.items():
            value = raw_score(metrics) if name == "raw" else metrics.get(name)
            if value is not None and math.isfinite(value):
                self._curves[label].append(value)
        self._view = replace(
            self._view,
            step=step,
            metrics=dict(metrics),
            eta_s=self._eta.update(step, metrics.get("step_time", math.nan)),
            curves={label: tuple(values) for label, values in self._curves.items()},
        )

    def evaluation(self, step: int, metrics: dict[str, float], split: str) -> None:
        self.message(eval_line(step, metrics, split))

    def message(self, line: str) -> None:
        style = "bold red" if line.startswith("alarm") else "yellow" if line.startswith(("warning", "hint")) else ""
        self._console.print(Text(line, style))  # above the live part; Text, so that [brackets] stay as they are

    def enter(self, phase: str) -> None:
        self._phases.append((phase, time.monotonic()))
        self._show_phase()

    def leave(self) -> None:
        if self._phases:
            self._phases.pop()
        self._show_phase()

    def _show_phase(self) -> None:
        phase, since = self._phases[-1] if self._phases else ("", 0.0)
        self._view = replace(self._view, phase=phase, since=since)

    def close(self) -> None:
        self._phases.clear()
        self._show_phase()
        self._live.stop()


def progress(view: View, width: int) -> RenderableType:
    done = f"step {view.step}/{view.max_steps}"
    left = "" if view.eta_s is None else f"eta {duration(view.eta_s)}"
    bar_width = max(4, min(width, WIDE) - len(done) - len(left) - 2)
    bar = ProgressBar(total=max(1, view.max_steps), completed=view.step, width=bar_width)
    row = Table.grid(padding=(0, 1))
    row.add_row(Text(done, "bold"), bar, Text(left, "cyan"))
    return row


def numbers(view: View, width: int) -> RenderableType:
    """What is learned (with its course) beside how the optimiser fares; one below the other on a narrow terminal."""
    wide = width >= WIDE
    learned = Table.grid(padding=(0, 2, 0, 0))
    optimiser = Table.grid(padding=(0, 2, 0, 0)) if wide else learned
    for label, text in fields(view.metrics):
        name, value = (
            Text(label.replace("_", " "), "dim"),
            Text(text, "bold" if label == "reward" else "", justify="right"),
        )
        if label in CURVES:
            course = sparkline(view.curves.get(label, ()), 20 if wide else max(0, width - 22))
            learned.add_row(name, value, Text(course, "cyan"))
        else:
            optimiser.add_row(name, value)
    if "step_time" in view.metrics:
        optimiser.add_row(Text("step time", "dim"), Text(f"{view.metrics['step_time']:.2f}s", justify="right"))
    if not wide:
        return learned
    both = Table.grid(padding=(0, 4, 0, 0))
    both.add_row(learned, optimiser)
    return both


def time_bar(split: dict[str, float], width: int) -> RenderableType:
    """Coloured blocks in proportion, and under them the shares in words of the same colours."""
    bar, words = Text(no_wrap=True), Text()
    edge, filled = 0.0, 0
    for part, share in split.items():
        edge += share
        end = round(edge * width)
        bar.append("━" * (end - filled), COLOURS[part])
        filled = end
        words.append(f"{part}\N{NO-BREAK SPACE}{share:.0%} ", COLOURS[part])
    return Group(bar, words)


def sparkline(values: tuple[float, ...], width: int) -> str:
    """The course of a metric in `width` characters, low to high; each character is the mean of its share of steps."""
    if len(values) < 2 or width < 2:
        return ""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    if high == low:
        return "▄" * count
    return "".join("▁▂▃▄▅▆▇█"[round((mean - low) / (high - low) * 7)] for mean in means)
