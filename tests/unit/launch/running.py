"""Running a script of launch/ as a user does, with stand-ins for the programs that it calls."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[3]
PF_EXITING = 0x4  # of a process's flags in /proc/N/stat (linux/sched.h)


def launch(script: str, *arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "launch" / script), *arguments]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ONLINE_RL_PLATFORM": "cpu", **env}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


# A rank's work in bash. `sleep` would be a child, which looks like the rank itself until it has become `sleep`.
WORKS = "exec 8<> <(:); echo ready; while :; do read -r -t 0.1 -u 8; done"


@contextmanager
def started(command: Sequence[str | Path], env: dict[str, str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run `command` in its own session and kill what is left of it when the block ends, however it ends."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True, **options)
    try:
        yield process
    finally:
        for number in left(process.pid):
            with suppress(psutil.NoSuchProcess):  # it has ended by itself meanwhile
                psutil.Process(number).kill()
        process.communicate(timeout=30)


def left(session: int) -> list[int]:
    """The processes of a session that are alive."""
    return [process.pid for process in psutil.process_iter() if _session(process.pid) == session and _is_alive(process)]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _is_alive(process: psutil.Process) -> bool:
    """Not a zombie, nor on the way there: the pipes of a killed process close a moment before it is one."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in ("Z", "X") and not int(fields[6]) & PF_EXITING


def path_with(folder: Path) -> str:
    """A PATH that begins with `folder`, before the environment that launch/env.sh would put first."""
    return os.pathsep.join([str(folder), str(ROOT / ".venv/bin"), str(Path(sys.executable).parent), os.environ["PATH"]])


def stand_in(path: Path, text: str) -> None:
    """An executable shell script."""
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def fake_gpus(folder: Path, count: int, driver: str = "580.95.05", capability: str = "9.0") -> None:
    """An nvidia-smi that lists so many GPUs, as the real one does, with UUIDs GPU-0000... and GPU-1111... and so on.

    A driver before 510 does not know the field compute_cap and says so.
    """
    rows = "".join(f"{i}) index={i} uuid=GPU-{str(i) * 8}-aaaa ;;\n" for i in range(count))
    stand_in(
        folder / "nvidia-smi",
        f"""
case "$1" in
    -L) for ((i = 0; i < {count}; i++)); do echo "GPU $i: NVIDIA (UUID: GPU-$i$i$i$i$i$i$i$i-aaaa)"; done; exit ;;
esac
fields="${{1#--query-gpu=}}"
[[ {count} != 0 ]] || {{ echo "No devices were found"; exit 6; }}
unknown="Field \\"compute_cap\\" is not a valid field to query."
[[ "$fields" != *compute_cap* || "{driver}" > "510" ]] || {{ echo "$unknown"; exit 2; }}
for ((i = 0; i < {count}; i++)); do
    case $i in
{rows}    esac
    line=""
    for field in ${{fields//,/ }}; do
        case "$field" in
            index) value=$index ;;
            uuid) value=$uuid ;;
            driver_version) value={driver} ;;
            compute_cap) value={capability} ;;
            *) echo "Field \\"$field\\" is not a valid field to query."; exit 2 ;;
        esac
        line="${{line:+$line, }}$value"
    done
    echo "$line"
done""",
    )
