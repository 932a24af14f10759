"""Run the parts of the check, each in a process of its own with a time limit, most valuable first; one JSON comes out.

    python -m benchmarks.gpu_check.run --json gpu_check.json [--only engine training] [--seconds 540]

The file is rewritten after every part, so that a check that is cut off leaves what it has found. Without a GPU each
part says that it needs one, after importing what it would use: that rehearses the list of packages.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, write_json

LIMITS_S = {"engine": 90, "training": 90, "attention": 60, "size": 240, "judge": 60}  # in the order of their value
TAIL = 2000  # characters of what a part that failed said last


def run_part(name: str, command: Sequence[str], limit_s: float) -> dict[str, Any]:
    """The part's own JSON (the last line of its stdout) with `state` and `seconds`.

    state  done, needs a GPU, failed (with the exit code and what it said last), or late: it was ended with its children
    """
    start = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, errors="replace"
    )
    try:
        said, _ = process.communicate(timeout=limit_s)
        late = False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        late = True
    result: dict[str, Any] = {"part": name, "seconds": round(time.monotonic() - start, 1)}
    if late:
        return result | {"state": "late", "limit_s": limit_s, "said": said[-TAIL:]}
    if process.returncode:
        return result | {"state": "failed", "code": process.returncode, "said": said[-TAIL:]}
    try:
        found = json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return result | {"state": "failed", "code": 0, "said": said[-TAIL:]}
    return {"state": "done"} | result | found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_check.run", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--json", type=Path, default=Path("gpu_check.json"))
    parser.add_argument("--only", nargs="*", choices=list(LIMITS_S), default=list(LIMITS_S))
    parser.add_argument("--seconds", type=float, default=540, help="of all parts together (%(default)s)")
    options = parser.parse_args(arguments)
    end = time.monotonic() + options.seconds
    parts: list[dict[str, Any]] = []
    for name in (name for name in LIMITS_S if name in options.only):
        limit = min(LIMITS_S[name], end - time.monotonic())
        if limit < 5:
            parts.append({"part": name, "state": "not begun", "seconds": 0.0})
        else:
            parts.append(run_part(name, [sys.executable, "-m", "benchmarks.gpu_check.parts", name], limit))
        print(f"{name:10} {parts[-1]['state']:12} {parts[-1]['seconds']:6.1f} s", flush=True)
        write_json({"machine": machine(), "parts": parts}, options.json)
    return 0 if all(part["state"] in ("done", "needs a GPU") for part in parts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
