"""launch/setup.sh, in a copy of the repository without an environment."""

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
    shutil.copytree(ROOT / "launch", folder / "launch")
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


def setup(checkout: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ONLINE_RL_PLATFORM": "cpu", **env}
    command = ["bash", "launch/setup.sh", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)


def make_installed(checkout: Path) -> None:
    """An environment as a finished setup leaves it, without the packages: a pip that does nothing stands for them."""
    fake = checkout / "fake-python"
    fake.write_text(
        f"""#!/bin/bash
case "$*" in
    "-m venv --clear "*) mkdir -p "${{@: -1}}/bin" && cp "$0" "${{@: -1}}/bin/python" ;;
    "-m pip"* | *"import datasets"* | *ShareMemCommBuilder*) echo "did: $*" >>"{checkout}/did" ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""
    )
    fake.chmod(0o755)
    result = setup(checkout, PYTHON=str(fake))
    assert result.returncode == 0, result.stderr


def test_the_second_setup_does_nothing_and_a_changed_pin_is_installed(checkout: Path) -> None:
    make_installed(checkout)
    did = checkout / "did"
    assert "requirements/cpu.txt" in did.read_text()
    did.unlink()

    again = setup(checkout)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout and not did.exists()

    pins = checkout / "requirements/cpu.txt"
    pins.write_text(pins.read_text() + "one-more==1.0\n")
    changed = setup(checkout)
    assert changed.returncode == 0
    assert "nothing to do" not in changed.stdout and "requirements/cpu.txt" in did.read_text()


def test_the_test_tools_are_added_to_a_finished_setup(checkout: Path) -> None:
    make_installed(checkout)
    assert "requirements/test.txt" not in (checkout / "did").read_text()
    assert setup(checkout, "--test").returncode == 0
    assert "requirements/test.txt" in (checkout / "did").read_text()
    assert "nothing to do" in setup(checkout, "--test").stdout
    assert "nothing to do" in setup(checkout).stdout


def test_an_install_that_failed_is_not_taken_for_done(checkout: Path) -> None:
    make_installed(checkout)
    pins = checkout / "requirements/cpu.txt"
    pins.write_text(pins.read_text() + "one-more==1.0\n")
    python = checkout / ".venv/bin/python"
    works = python.read_text()
    python.write_text(
        works.replace('"-m pip"*', '"-m pip --disable-pip-version-check --no-input install"*) exit 9 ;;\n    "-m pip"*')
    )
    failed = setup(checkout)
    assert failed.returncode == 1
    assert "failed" in failed.stderr and "run the same command again" in failed.stderr
    python.write_text(works)
    assert "done in" in setup(checkout).stdout


def test_an_old_python_is_refused_with_a_remedy(checkout: Path) -> None:
    old = checkout / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    result = setup(checkout, PYTHON=str(old))
    assert result.returncode == 2
    assert "3.11" in result.stderr and str(old) in result.stderr and "PYTHON=" in result.stderr


def test_a_missing_compiler_is_refused_before_anything_is_installed(checkout: Path) -> None:
    result = setup(checkout, CXX="no-such-compiler", PYTHON=sys.executable)
    assert result.returncode == 2
    assert "no-such-compiler" in result.stderr and "apt install g++" in result.stderr
    assert not (checkout / ".venv").exists()


def test_another_folder_s_environment_behind_a_link_is_left_alone(checkout: Path, tmp_path: Path) -> None:
    make_installed(checkout)
    other = tmp_path / "other"
    shutil.copytree(checkout, other, ignore=shutil.ignore_patterns(".venv"))
    (other / ".venv").symlink_to(checkout / ".venv")
    result = setup(other)
    assert result.returncode == 2 and "is a link" in result.stderr and "remove it" in result.stderr
    assert (checkout / ".venv/bin/python").exists()


def test_an_unknown_platform_or_argument_is_refused(checkout: Path) -> None:
    result = setup(checkout, ONLINE_RL_PLATFORM="tpu")
    assert result.returncode == 2 and "tpu" in result.stderr
    assert setup(checkout, "--tests").returncode == 2
