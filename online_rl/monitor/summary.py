"""What one line or table on the console says about a step: which metrics, in which order, how written."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import fmean
from typing import Any

Fields = list[tuple[str, str, str]]  # (label, metric, format)

STEP_FIELDS: Fields = [
    ("reward", "reward", ".3f"),
    ("raw", "raw", ".3f"),
    ("F1", "findings/f1", ".3f"),
    ("recall", "findings/recall", ".2f"),
    ("silent", "findings/silent_on_abnormal", ".2f"),
    ("distinct", "diversity/distinct", ".2f"),
    ("verbosity", "verbosity/mean", ".2f"),
    ("length", "completions/mean_length", ".1f"),
    ("kl", "kl", ".4f"),
    ("pairs", "dpo/pairs_per_group", ".2f"),
    ("accuracy", "rewards/accuracies", ".2f"),
    ("grad_norm", "grad_norm", ".2f"),
    ("lr", "learning_rate", ".1e"),
]
SUPERVISED_FIELDS: Fields = [  # of a run whose metrics have the last of these names
    ("loss", "loss", ".3f"),
    ("perplexity", "perplexity", ".3f"),
    ("accuracy", "mean_token_accuracy", ".3f"),
]
TIME_PARTS = {
    "generate": "time/generate",
    "judge": "time/judge_exposed",
    "update": "time/update",
    "sync": "time/sync",
}


def raw_score(metrics: dict[str, float]) -> float | None:
    """The judge's score before length control: `raw_reward`, or the mean over `raw_reward/<judge>`."""
    if "raw_reward" in metrics:
        return metrics["raw_reward"]
    per_judge = [v for name, v in metrics.items() if name.startswith("raw_reward/") and not name.endswith("/std")]
    return fmean(per_judge) if per_judge else None


def fields(metrics: dict[str, float]) -> list[tuple[str, str]]:
    """The (label, text) pairs of the metrics that are there."""
    raw = raw_score(metrics)
    values = metrics if raw is None else {**metrics, "raw": raw}
    shown = [*SUPERVISED_FIELDS, *STEP_FIELDS] if is_supervised(metrics) else STEP_FIELDS
    return [(label, format(values[name], spec)) for label, name, spec in shown if name in values]


def is_supervised(metrics: Mapping[str, Any]) -> bool:
    """Whether a step or an evaluation is one of the supervised stage, whose loss says how it fares."""
    return SUPERVISED_FIELDS[-1][1] in metrics


def time_parts(metrics: dict[str, float]) -> dict[str, float]:
    """Seconds of the step's parts: generate, judge, update, sync, and "other" if it is worth a word.

    The judge's share is the time that training waited for it (`time/judge_exposed`); judging that ran beside
    generation is no part of it.
    """
    seconds = {part: metrics.get(name, math.nan) for part, name in TIME_PARTS.items()}
    seconds = {part: value for part, value in seconds.items() if math.isfinite(value)}
    known = sum(seconds.values())
    total = max(known, metrics.get("step_time", 0.0))
    if not known or not math.isfinite(total):
        return {}
    return {**seconds, "other": total - known} if total - known > 0.05 * total else seconds


def time_split(metrics: dict[str, float]) -> dict[str, float]:
    """Shares of the parts, which sum to 1."""
    parts = time_parts(metrics)
    return {part: value / sum(parts.values()) for part, value in parts.items()}


def split_text(split: dict[str, float]) -> str:
    return " ".join(f"{part} {share:.0%}" for part, share in split.items())


def step_line(step: int, max_steps: int, metrics: dict[str, float], eta_s: float | None) -> str:
    """`step 12/80  reward 0.412  ...  eta 3m40s`: one line per step, for logs that are searched later."""
    parts = [f"step {step}/{max_steps}", *(f"{label} {text}" for label, text in fields(metrics))]
    if "step_time" in metrics:
        parts.append(f"step_time {metrics['step_time']:.2f}s")
    if split := time_split(metrics):
        parts.append(f"({split_text(split)})")
    if eta_s is not None:
        parts.append(f"eta {duration(eta_s)}")
    return "  ".join(parts)


def eval_line(step: int, metrics: dict[str, float], split: str) -> str:
    return "  ".join([f"{split} at step {step}", *(f"{label} {text}" for label, text in fields(metrics))])


def duration(seconds: float) -> str:
    """45s, 3m40s, 2h05m, 1d03h."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


class Eta:
    """Time left, from the mean of the last steps."""

    def __init__(self, max_steps: int) -> None:
        self._max_steps = max_steps
        self._recent: deque[float] = deque(maxlen=20)

    def update(self, step: int, step_time: float) -> float | None:
        if math.isfinite(step_time):
            self._recent.append(step_time)
        if not self._recent:
            return None
        return max(0, self._max_steps - step) * fmean(self._recent)
