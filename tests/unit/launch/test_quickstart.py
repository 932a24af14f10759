"""launch/quickstart.sh, with stand-ins for its steps: what it runs, and whether its closing lines work as printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.launch.running import ROOT, fake_gpus, stand_in


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


def shell(command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """As typed into a shell that knows nothing of the project."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), **env}
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


def on_gpus(
    checkout: Path,
    gpus: int,
    *arguments: str,
    config: str = "  studies_per_step: 8  # over all ranks\n",
    capability: str = "9.0",
    **env: str,
) -> subprocess.CompletedProcess[str]:
    fake_gpus(checkout / ".venv" / "bin", gpus, capability=capability)
    (checkout / "configs" / "demo_grpo.yaml").write_text(f"rollout:\n{config}")
    train = checkout / "launch" / "single_node.sh"
    if "RANKS:-" not in train.read_text():
        train.write_text(train.read_text() + 'echo "ranks: ${RANKS:-all}"\n')
    command = ["bash", str(checkout / "launch" / "quickstart.sh"), *arguments]
    return shell(shlex.join(command), checkout, **env)


@pytest.mark.parametrize(
    ("gpus", "ranks"),
    [(1, "all"), (2, "all"), (3, "2"), (4, "all"), (5, "4"), (6, "4"), (7, "4"), (8, "all"), (16, "8")],
)
def test_it_trains_on_as_many_gpus_as_divide_the_studies(gpus: int, ranks: str, checkout: Path) -> None:
    result = on_gpus(checkout, gpus)
    assert result.returncode == 0 and f"ranks: {ranks}\n" in result.stdout, result.stderr
    assert (f"training on {ranks} of {gpus} GPUs" in result.stdout) is (ranks != "all")


def test_studies_of_the_command_line_and_chosen_gpus_count(checkout: Path) -> None:
    assert "ranks: all\n" in on_gpus(checkout, 3, "rollout.studies_per_step=9").stdout
    assert "ranks: 2\n" in on_gpus(checkout, 8, CUDA_VISIBLE_DEVICES="1,2,5").stdout
    assert "ranks: all\n" in on_gpus(checkout, 8, config="  group_size: 4\n").stdout, "the default is 16"


def test_ranks_that_do_not_divide_the_studies_are_refused_before_installing(checkout: Path) -> None:
    result = on_gpus(checkout, 8, RANKS="3")
    assert result.returncode == 2 and "== install" not in result.stdout
    assert "RANKS is 3" in result.stderr and "rollout.studies_per_step=8" in result.stderr


@pytest.mark.parametrize(
    ("gpus", "capability", "arguments", "bfloat16"),
    [(1, "9.0", (), True), (1, "7.5", (), False), (1, "9.0", ("model.dtype=float32",), False), (0, "9.0", (), False)],
)
def test_the_demo_computes_in_bfloat16_on_gpus_that_have_it(
    gpus: int, capability: str, arguments: tuple[str, ...], bfloat16: bool, checkout: Path
) -> None:
    result = on_gpus(checkout, gpus, *arguments, capability=capability)
    assert result.returncode == 0, result.stderr
    called = [line for line in result.stdout.splitlines() if line.startswith(("called: single", "called: online-rl"))]
    assert len(called) == 2 and all(("model.dtype=bfloat16" in line) is bfloat16 for line in called)


def test_a_config_of_ones_own_keeps_its_dtype(checkout: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("rollout:\n  studies_per_step: 8\n")
    result = on_gpus(checkout, 2, str(own))
    assert result.returncode == 0 and "bfloat16" not in result.stdout
