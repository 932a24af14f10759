"""What every benchmark writes down about where it ran."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """CPU model, cores, accelerator where there is one, Python."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = (line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line)
        cpu = next(names, cpu)
    found: dict[str, Any] = {"cpu": cpu, "cores": os.cpu_count(), "python": platform.python_version()}
    try:
        import torch

        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name()
    except ImportError:
        pass
    return found


def write_json(result: dict[str, Any], path: str | Path | None) -> None:
    """The figures of the table, for other programs; nothing where no file is named."""
    if path:
        Path(path).write_text(json.dumps(result, indent=1) + "\n")


def command_line() -> str:
    """What was called, for the result: without the folders and files of this machine, which anyone names otherwise, and
    without `--at-most` and `--read`, as what was done in pieces reads the same in the end."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    for option in ("--at-most", "--runs", "--json"):
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
    return "python benchmarks/" + shlex.join(word for word in words if word != "--read")
