"""A configuration, a hostfile, and stand-ins for the deepspeed launcher and Slurm's commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.launch.running import stand_in


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("{}\n")
    return path


@pytest.fixture
def hostfile(tmp_path: Path) -> Path:
    path = tmp_path / "hostfile"
    path.write_text("# two machines\nworker-1 slots=8\n\nworker-2 slots=4  # the smaller one\n")
    return path


@pytest.fixture
def fake_launcher(tmp_path: Path) -> Path:
    """A folder with a `deepspeed` that writes down how it was called and ends with $FAKE_CODE."""
    folder = tmp_path / "bin"
    folder.mkdir()
    text = 'echo "called: $*"\nenv | grep -E "^(OMP|VLLM|DS_|TOK|DO_NOT)"\nexit "${FAKE_CODE:-0}"'
    stand_in(folder / "deepspeed", text)
    return folder


@pytest.fixture
def slurm(tmp_path: Path, fake_launcher: Path) -> Path:
    """A folder with `scontrol` and `srun`, which runs its command here as if on two nodes."""
    scripts = {
        "scontrol": """
            case "$1" in
                show) [ "$2" = job ] && echo "   Command=$JOB_SCRIPT x" || printf 'node-1\\nnode-2\\n' ;;
                requeue) echo "requeued $2" ;;
            esac
        """,
        "srun": """
            while [ "${1#--}" != "$1" ]; do shift; done
            for node in 0 1; do SLURM_NODEID=$node "$@" & pids="$pids $!"; done
            code=0
            for pid in $pids; do wait $pid || code=$?; done
            exit $code
        """,
    }
    for name, text in scripts.items():
        stand_in(fake_launcher / name, text)
    return fake_launcher
