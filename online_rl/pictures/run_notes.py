"""What a reader of a run's pictures should know first: still being written, stopped early, of another version."""

from __future__ import annotations

import time
from pathlib import Path

from online_rl.errors import ConfigError
from online_rl.monitor.records import Record
from online_rl.monitor.summary import duration, is_supervised

QUIET_STEPS = 5  # a run that has written nothing for this many of its steps is not running any more
LEAST_QUIET_S = 120.0


def run_notes(run_dir: Path, train: list[Record], now: float | None = None) -> list[str]:
    """Sentences, none where the run is whole and of this version.

    train  its training records, in order of step
    now    seconds since the epoch, for the age of the last line
    """
    from online_rl.config import load_config

    notes = []
    last = train[-1]["step"]
    try:
        steps = load_config(run_dir / "config.resolved.yaml", ["resume=never"]).train.max_steps
    except ConfigError:
        there = (run_dir / "config.resolved.yaml").exists()
        found = "does not load here, so another version wrote it" if there else "is missing"
        notes.append(
            f"config.resolved.yaml {found}; what this version looks for and the run did not log is drawn as "
            '"not recorded".'
        )
    else:
        if last < steps:
            notes.append(_unfinished(run_dir, train, last, steps, time.time() if now is None else now))
    if not any("reward" in record or is_supervised(record) for record in train):
        notes.append("no step has a reward; another version or another program wrote metrics.jsonl.")
    return notes


def _unfinished(run_dir: Path, train: list[Record], last: int, steps: int, now: float) -> str:
    age = max(0.0, now - (run_dir / "metrics.jsonl").stat().st_mtime)
    times = [t for record in train[-QUIET_STEPS:] if isinstance(t := record.get("step_time"), int | float)]
    if age <= max(LEAST_QUIET_S, QUIET_STEPS * max(times, default=0.0)):
        return f"still being written: step {last} of {steps}, the last line {duration(age)} ago. Draw it again later."
    return f"ended at step {last} of {steps}, {duration(age)} ago; resume=auto continues from its newest checkpoint."
