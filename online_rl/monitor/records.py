"""`metrics.jsonl`: one JSON object per line, readable while the run writes it, cut back when a run resumes."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from online_rl.whole_file import whole_file

Record = dict[str, Any]


class MetricsFile:
    """Appends records. The file is opened for each line, so a full disk costs lines, never the run."""

    def __init__(self, path: Path, start_step: int) -> None:
        self.path = path
        self._torn = False  # the last write failed, so the file may end in half a line
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch()
        elif start_step > 0:
            cut_back(path, start_step)
        elif path.is_file() and path.stat().st_size:
            os.replace(path, path.with_name(path.name + ".previous"))  # a fresh run never mixes with an earlier one
            path.touch()

    def write(self, step: int, metrics: dict[str, float], **fields: Any) -> None:
        """Values that are not finite become null, because JSON has no NaN."""
        values = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        record = {"step": step, "time": round(time.time(), 3), **fields}
        line = json.dumps({**record, **values, **record}, allow_nan=False) + "\n"
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write("\n" + line if self._torn else line)
        except OSError:
            self._torn = True
            raise
        self._torn = False


def cut_back(path: Path, last_step: int) -> None:
    """Keep the lines up to and including `last_step`; half-written lines go."""
    kept = read_records(path, lambda record: record["step"] <= last_step)
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in kept)


def read_records(path: Path, keep: Callable[[Record], bool] = lambda record: True) -> list[Record]:
    """All readable records, in order. A line that a killed run left half-written is passed over."""
    records = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("step"), int) and keep(record):
                records.append(record)
    return records
