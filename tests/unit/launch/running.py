"""Running a script of launch/ as a user does, with stand-ins for the programs that it calls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def launch(script: str, *arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "launch" / script), *arguments]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ONLINE_RL_PLATFORM": "cpu", **env}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def path_with(folder: Path) -> str:
    """A PATH that begins with `folder`, before the environment that launch/env.sh would put first."""
    return os.pathsep.join([str(folder), str(ROOT / ".venv/bin"), str(Path(sys.executable).parent), os.environ["PATH"]])


def stand_in(path: Path, text: str) -> None:
    """An executable shell script."""
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
