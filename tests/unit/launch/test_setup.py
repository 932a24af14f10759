"""launch/setup.sh, in a copy of the repository without an environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.launch.running import ROOT, fake_gpus


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


def fake_python(checkout: Path) -> Path:
    """A Python whose pip installs nothing and writes down what it was asked for."""
    fake = checkout / "fake-python"
    fake.write_text(
        f"""#!/bin/bash
case "$*" in
    "-m venv --clear "*) mkdir -p "${{@: -1}}/bin" && cp "$0" "${{@: -1}}/bin/python" ;;
    *torch.cuda.is_available*) [ "$TORCH_SEES" != nothing ] || {{ echo "torch finds no GPU"; exit 1; }} ;;
    "-m pip"* | *"import datasets"* | *Builder*) echo "did: $*" >>"{checkout}/did" ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""
    )
    fake.chmod(0o755)
    return fake


def make_installed(checkout: Path) -> None:
    """An environment as a finished setup leaves it, without the packages: a pip that does nothing stands for them."""
    result = setup(checkout, PYTHON=str(fake_python(checkout)))
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


def test_a_python_whose_path_holds_blanks(checkout: Path) -> None:
    folder = checkout / "my py"
    folder.mkdir()
    python = shutil.copy(fake_python(checkout), folder)
    result = setup(checkout, PYTHON=str(python))
    assert result.returncode == 0, result.stderr
    assert f"({python})" in result.stdout


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


def setup_on_gpus(checkout: Path, platform: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(checkout), os.environ["PATH"]])
    return setup(checkout, PATH=path, PYTHON=str(fake_python(checkout)), ONLINE_RL_PLATFORM=platform, **env)


def installed_set(checkout: Path) -> str:
    [found] = {name for name in ("cpu", "gpu") if f"-r requirements/{name}.txt" in (checkout / "did").read_text()}
    return found


@pytest.mark.parametrize(
    ("driver", "capability", "chosen", "said"),
    [
        ("580.95.05", "9.0", "gpu", ""),
        ("595.10", "7.5", "gpu", ""),
        ("575.57.08", "9.0", "cpu", "the NVIDIA driver is 575.57.08, and CUDA 13 needs 580 or newer"),
        ("470.82.01", "8.0", "cpu", "the NVIDIA driver is 470.82.01"),
        ("580.95.05", "7.0", "cpu", "compute capability 7.0, and CUDA 13 needs 7.5 or newer"),
        ("580.95.05", "12.0", "gpu", ""),
    ],
)
def test_a_gpu_or_driver_that_cuda_13_does_not_know_leaves_the_cpu_path(
    driver: str, capability: str, chosen: str, said: str, checkout: Path
) -> None:
    fake_gpus(checkout, 2, driver, capability)
    result = setup_on_gpus(checkout)
    assert result.returncode == 0, result.stderr
    assert installed_set(checkout) == chosen and (checkout / ".venv/platform").read_text().strip() == chosen
    assert said in result.stderr and bool(said) == ("Setting up for the CPU" in result.stderr)


def test_whoever_insists_on_the_gpu_gets_it_with_a_warning(checkout: Path) -> None:
    fake_gpus(checkout, 1, "535.230.02")
    result = setup_on_gpus(checkout, "gpu")
    assert result.returncode == 0 and installed_set(checkout) == "gpu"
    assert "warning: the NVIDIA driver is 535.230.02" in result.stderr


def test_a_gpu_that_torch_does_not_find_ends_the_setup(checkout: Path) -> None:
    fake_gpus(checkout, 1)
    result = setup_on_gpus(checkout, TORCH_SEES="nothing")
    assert result.returncode == 1 and "torch finds no GPU" in result.stderr
    assert not (checkout / ".venv/setup-done").exists()


def test_a_login_node_without_gpus_can_be_set_up_for_them(checkout: Path) -> None:
    fake_gpus(checkout, 0)
    result = setup_on_gpus(checkout, "gpu", TORCH_SEES="nothing")
    assert result.returncode == 0 and installed_set(checkout) == "gpu" and "torch was not asked" in result.stdout


def test_no_c_compiler_is_refused_on_gpus_too(checkout: Path) -> None:
    fake_gpus(checkout, 1)
    result = setup_on_gpus(checkout, CC="no-such-compiler")
    assert result.returncode == 2 and "no-such-compiler" in result.stderr and "Triton" in result.stderr
    assert not (checkout / ".venv").exists()


def test_missing_headers_are_refused_on_gpus_too(checkout: Path) -> None:
    fake_gpus(checkout, 1)
    python = fake_python(checkout)
    python.write_text(python.read_text().replace('case "$*" in', 'case "$*" in\n    *sysconfig*) echo /nowhere ;;', 1))
    path = os.pathsep.join([str(checkout), os.environ["PATH"]])
    result = setup(checkout, PATH=path, PYTHON=str(python), ONLINE_RL_PLATFORM="gpu")
    assert result.returncode == 2 and "Python.h is not in /nowhere" in result.stderr
    assert not (checkout / ".venv").exists()


def test_adam_for_offloading_is_built_before_the_ranks_need_it(checkout: Path) -> None:
    fake_gpus(checkout, 1)
    assert setup_on_gpus(checkout).returncode == 0
    assert "CPUAdamBuilder" in (checkout / "did").read_text()
    (checkout / ".venv/setup-done").unlink()
    (checkout / "did").unlink()
    without = setup_on_gpus(checkout, CXX="no-such-compiler")
    assert without.returncode == 0 and "offload_optimizer=cpu will not work" in without.stdout
    assert "CPUAdamBuilder" not in (checkout / "did").read_text()
