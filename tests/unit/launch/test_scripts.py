"""What every script in launch/ has in common."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.launch.running import ROOT, launch

SCRIPTS = sorted(path.name for path in (ROOT / "launch").glob("*.sh") if path.name != "env.sh") + ["slurm.sbatch"]


def test_shellcheck_has_nothing_to_say() -> None:
    scripts = [
        str(path) for path in (*(ROOT / "launch").glob("*.s*"), *(ROOT / "tests").rglob("*.sh"), ROOT / ".ci/run")
    ]
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert shellcheck, "shellcheck is missing: bash launch/setup.sh --test"
    result = subprocess.run([shellcheck, "-x", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_explains_the_script(script: str, tmp_path: Path) -> None:
    result = launch(script, "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"bash launch/{script}" in result.stdout
    assert "set -e" not in result.stdout
