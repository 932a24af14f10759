"""launch/metrics_server.sh, in a copy of the repository, with a Python whose pip installs nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.launch.running import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    for name in ("launch", "requirements"):
        shutil.copytree(ROOT / name, folder / name)
    fake = folder / "fake-python"
    fake.write_text(
        f"""#!/bin/bash
case "$*" in
    "-m venv --clear "*) mkdir -p "${{@: -1}}/bin" && cp "$0" "${{@: -1}}/bin/python" ;;
    "-m pip"*) [ -z "$FAILS" ] || exit 9; echo "did: $*" >>"{folder}/did" ;;
    "-m judges.radeval.server"* | *find_radgraph*) echo "served: $*" ;;
    *version_info*) exit "${{OLD:-0}}" ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""
    )
    fake.chmod(0o755)
    return folder


def run(checkout: Path, *arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "ONLINE_RL_PLATFORM": "cpu",
        "PYTHON": str(checkout / "fake-python"),
        **env,
    }
    command = ["bash", str(checkout / "launch/metrics_server.sh"), *arguments]
    return subprocess.run(command, cwd=cwd or checkout, env=environment, capture_output=True, text=True, timeout=60)


def test_the_environment_is_made_once_and_again_when_a_pin_changes(checkout: Path) -> None:
    first = run(checkout, "--port", "0", "radgraph")
    assert first.returncode == 0, first.stderr
    assert first.stdout == "served: -m judges.radeval.server --port 0 radgraph\n"
    did = checkout / "did"
    torch, rest = did.read_text().splitlines()
    assert "-r requirements/torch.txt" in torch and "--no-deps -r requirements/metrics.txt" in rest
    did.unlink()
    assert run(checkout, "--install").stdout == "metrics: .venv-metrics is up to date.\n"
    assert not did.exists()
    pins = checkout / "requirements" / "metrics.txt"
    pins.write_text(pins.read_text() + "one-more==1.0\n")
    run(checkout, "--install")
    assert "metrics.txt" in did.read_text()


def test_the_server_is_started_where_the_user_is(checkout: Path, tmp_path: Path) -> None:
    """So that a relative --references is found, at the first start as at later ones."""
    fake = checkout / "fake-python"
    fake.write_text(fake.read_text().replace('echo "served: $*"', 'echo "served in $PWD"'))
    for _ in range(2):
        result = run(checkout, "--references", "reports.csv", cwd=tmp_path)
        assert result.stdout == f"served in {tmp_path}\n", result.stderr


def test_a_python_whose_path_holds_blanks(checkout: Path) -> None:
    python = checkout / "my py" / "fake-python"
    python.parent.mkdir()
    shutil.copy(checkout / "fake-python", python)
    result = run(checkout, "--install", PYTHON=str(python))
    assert result.returncode == 0, result.stderr


def test_an_install_that_failed_is_not_taken_for_done(checkout: Path) -> None:
    failed = run(checkout, "--install", FAILS="yes")
    assert failed.returncode == 1 and "run the same command again" in failed.stderr
    assert run(checkout, "--install").returncode == 0 and (checkout / "did").exists()


def test_another_python_is_refused_with_a_remedy(checkout: Path) -> None:
    refused = run(checkout, OLD="1")
    assert (
        refused.returncode == 2 and "no Python 3.11 among" in refused.stderr and "uv python install" in refused.stderr
    )
    assert not (checkout / ".venv-metrics").exists()
