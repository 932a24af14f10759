"""launch/quickstart.sh, with stand-ins for its steps: what it runs, and whether its closing lines work as printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.launch.running import ROOT, stand_in


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of launch/ in a folder with a space, whose programs say where and how they were called."""
    folder = tmp_path / "a checkout"
    shutil.copytree(ROOT / "launch", folder / "launch")
    (folder / "configs").mkdir()
    (folder / "configs" / "demo_grpo.yaml").write_text("{}\n")
    (folder / ".venv" / "bin").mkdir(parents=True)
    called = 'echo "called: ${0##*/} $* in $PWD"'
    for program in ("python", "online-rl", "tensorboard"):
        stand_in(folder / ".venv" / "bin" / program, called)
    stand_in(folder / "launch" / "setup.sh", called)
    trained = 'run="${@: -1}"; run="${run#run.dir=}"; mkdir -p "$run/plots"; touch "$run/plots/curves.png"'
    stand_in(folder / "launch" / "single_node.sh", f"{called}; {trained}")
    return folder


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """As typed into a shell that knows nothing of the project."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(["bash", "-c", command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def quickstart(checkout: Path, cwd: Path, *arguments: str) -> list[str]:
    """What it prints."""
    command = ["bash", str(checkout / "launch" / "quickstart.sh"), *arguments]
    result = shell(shlex.join(command), cwd)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def closing(lines: list[str]) -> dict[str, str]:
    """The lines after `== done`, by their label."""
    [done] = [i for i, line in enumerate(lines) if line.startswith("== done in")]
    assert re.fullmatch(r"== done in \d+ min \d\d s, after installing for \d+ min \d\d s", lines[done])
    return {line[:16].strip(): line[16:] for line in lines[done + 1 :]}


@pytest.mark.parametrize("elsewhere", [True, False])
def test_the_closing_lines_work_when_pasted(elsewhere: bool, checkout: Path, tmp_path: Path) -> None:
    cwd = tmp_path if elsewhere else checkout
    said = closing(quickstart(checkout, cwd))
    assert ("cd " in said["first"]) is elsewhere
    assert said["curves"] == "runs/quickstart/plots/curves.png"
    wanted = {
        "TensorBoard": "called: tensorboard --logdir runs/quickstart --port 6006",
        "one HTML file": "called: online-rl plot runs/quickstart --html",
        "the policy": "called: online-rl export runs/quickstart --output exported",
        "how good it is": "called: online-rl eval runs/quickstart --against start",
    }
    for label, called in wanted.items():
        pasted = shell(f"{said['first']}\n{said[label]}", cwd)
        assert f"{called} in {checkout}\n" in pasted.stdout, pasted.stderr


def test_a_run_folder_with_a_space_is_quoted(checkout: Path, tmp_path: Path) -> None:
    said = closing(quickstart(checkout, tmp_path, f"run.dir={tmp_path}/my run"))
    pasted = shell(f"{said['first']}\n{said['TensorBoard']}", tmp_path)
    assert f"called: tensorboard --logdir {tmp_path}/my run --port" in pasted.stdout, pasted.stderr


def test_it_installs_prepares_and_trains_into_a_new_folder_each_time(checkout: Path, tmp_path: Path) -> None:
    for run in ("runs/quickstart", "runs/quickstart-2"):
        lines = quickstart(checkout, tmp_path, "train.max_steps=20")
        config = checkout / "configs" / "demo_grpo.yaml"
        settings = f"train.max_steps=20 run.dir={run} in {checkout}"
        assert [line for line in lines if line.startswith("called:")] == [
            f"called: setup.sh  in {checkout}",
            f"called: online-rl demo prepare --config {config} {settings}",
            f"called: single_node.sh {config} {settings}",
        ]


def test_a_step_that_fails_ends_it_with_the_steps_exit_code(checkout: Path, tmp_path: Path) -> None:
    stand_in(checkout / ".venv" / "bin" / "online-rl", "exit 3")
    result = shell(f"bash {shlex.quote(str(checkout / 'launch' / 'quickstart.sh'))}", tmp_path)
    assert result.returncode == 3
    assert "prepare the demo failed (exit code 3)" in result.stderr and "== train" not in result.stdout


def test_the_readme_shows_closing_lines_that_are_printed(checkout: Path) -> None:
    text = (ROOT / "README.md").read_text()
    [shown] = re.findall(r"^== done in .*?(?=^```)", text, re.M | re.S)
    readme, said = closing(shown.splitlines()), closing(quickstart(checkout, checkout))
    assert "first" in readme
    assert [line for line in said.items() if line[0] in readme] == list(readme.items())
