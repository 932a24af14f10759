"""launch/tensorboard.sh, with a stand-in for TensorBoard: which run it shows, and where."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.unit.launch.running import ROOT, launch, path_with, stand_in


@pytest.fixture
def path(tmp_path: Path) -> str:
    folder = tmp_path / "bin"
    folder.mkdir()
    stand_in(folder / "tensorboard", 'echo "called: tensorboard $*"')
    return path_with(folder)


def test_it_prints_and_runs_the_command_for_a_run_and_a_port(path: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    result = launch("tensorboard.sh", "mine", "7007", cwd=tmp_path, PATH=path)
    assert result.returncode == 0, result.stderr
    command = "tensorboard --logdir mine --port 7007"
    assert result.stdout == f"$ {command}\ncalled: {command}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "7007", "mine"],
        ["mine", "--port=7007"],
        ["-p", "7007", "--logdir", "mine"],
        ["--logdir=mine", "7007"],
    ],
)
def test_the_port_has_a_name_and_any_place(arguments: list[str], path: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    result = launch("tensorboard.sh", *arguments, cwd=tmp_path, PATH=path)
    assert "called: tensorboard --logdir mine --port 7007\n" in result.stdout, result.stderr


def test_a_port_alone_and_further_arguments(path: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    result = launch("tensorboard.sh", "7007", "--", "--reload_interval", "5", cwd=tmp_path, PATH=path)
    assert "called: tensorboard --logdir runs --port 7007 --reload_interval 5\n" in result.stdout, result.stderr


def test_the_command_can_be_pasted_where_the_environment_is_on(path: str, tmp_path: Path) -> None:
    """In a terminal without it the printed command would not be found, so the line before says how to put it on."""
    shutil.copytree(ROOT / "launch", tmp_path / "checkout" / "launch")
    environment = tmp_path / "checkout" / ".venv" / "bin"
    environment.mkdir(parents=True)
    stand_in(environment / "python", "exit 0")
    (tmp_path / "my run").mkdir()
    script = os.path.relpath(tmp_path / "checkout" / "launch" / "tensorboard.sh", ROOT / "launch")
    off = launch(script, "my run", cwd=tmp_path, PATH=path)
    assert "$ tensorboard --logdir my\\ run --port 6006\n" in off.stdout
    assert f"after: source {tmp_path}/checkout/launch/env.sh" in off.stderr
    on = launch(script, "my run", cwd=tmp_path, PATH=f"{path}:{environment}")
    assert on.returncode == 0 and on.stderr == ""


def test_a_run_of_the_repository_is_found_from_another_folder(path: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "launch", tmp_path / "checkout" / "launch")
    run = tmp_path / "checkout" / "runs" / "mine"
    run.mkdir(parents=True)
    script = os.path.relpath(tmp_path / "checkout" / "launch" / "tensorboard.sh", ROOT / "launch")
    named = launch(script, "runs/mine", cwd=tmp_path, PATH=path)
    assert f"called: tensorboard --logdir {run} --port 6006\n" in named.stdout
    every = launch(script, cwd=tmp_path, PATH=path)
    assert f"called: tensorboard --logdir {run.parent} --port 6006\n" in every.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no run at 'nowhere'"),
        ([".", "http"], "the port is 'http'; expected a number"),
        ([".", "--port", "70000"], "the port is '70000'"),
        ([".", "--prot", "7007"], "'--prot' is not an option here"),
        ([".", "7007", "7008"], "'7008' is one word too many"),
        ([".", "--port"], "the last option has no value"),
    ],
)
def test_a_missing_run_or_a_port_that_is_none_is_refused(
    arguments: list[str], words: str, path: str, tmp_path: Path
) -> None:
    result = launch("tensorboard.sh", *arguments, cwd=tmp_path, PATH=path)
    assert result.returncode == 2 and words in result.stderr
    assert "called" not in result.stdout
