"""launch/multi_node.sh: which hostfiles it takes, what it starts, and what reaches the other machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.launch.running import ROOT, launch


def test_a_good_hostfile_gives_the_deepspeed_command(hostfile: Path, config: Path) -> None:
    result = launch("multi_node.sh", "--dry-run", str(hostfile), str(config), "train.max_steps=5")
    assert result.returncode == 0, result.stderr
    assert "2 machines, 12 ranks" in result.stdout
    assert f"deepspeed --hostfile {hostfile} " in result.stdout
    assert f"--module online_rl.train --config {config} train.max_steps=5" in result.stdout


def test_a_missing_hostfile_is_refused_not_run_locally(tmp_path: Path, config: Path) -> None:
    result = launch("multi_node.sh", "--dry-run", str(tmp_path / "nowhere"), str(config))
    assert result.returncode == 2
    assert "no hostfile" in result.stderr and str(tmp_path / "nowhere") in result.stderr


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("worker-1 slots=8\nworker-2 slots=8\nworker-1 slots=4\n", 3, "'worker-1' is already on line 1"),
        ("worker-1 slots=8\nworker-2\n", 2, "worker-1 slots=8"),
        ("worker-1 slots=8 gpus=4\n", 1, "worker-1 slots=8"),
        ("worker-1 slots=\n", 1, "worker-1 slots=8"),
        ("worker 1 slots=8\n", 1, "worker-1 slots=8"),
        ("$(hostname) slots=8\n", 1, "worker-1 slots=8"),
        ("worker-1 slots=0\n", 1, "slots is '0'; expected a whole number of at least 1"),
        ("worker-1 slots=-2\n", 1, "slots is '-2'"),
        ("worker-1 slots=four", 1, "slots is 'four'"),
    ],
)
def test_a_bad_host_line_is_refused_by_its_number(
    text: str, line: int, words: str, hostfile: Path, config: Path
) -> None:
    hostfile.write_text(text)
    result = launch("multi_node.sh", "--dry-run", str(hostfile), str(config))
    assert result.returncode == 2
    assert f"line {line}:" in result.stderr and words in result.stderr
    assert "deepspeed --hostfile" not in result.stdout


@pytest.mark.parametrize("text", ["", "\n\n", "# worker-1 slots=8\n"])
def test_a_hostfile_without_machines_is_refused(text: str, hostfile: Path, config: Path) -> None:
    hostfile.write_text(text)
    result = launch("multi_node.sh", "--dry-run", str(hostfile), str(config))
    assert result.returncode == 2
    assert "names no machine" in result.stderr


def test_a_config_of_the_repository_is_found_from_another_folder(hostfile: Path, tmp_path: Path) -> None:
    result = launch("multi_node.sh", "--dry-run", hostfile.name, "configs/demo_grpo.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"--hostfile {hostfile} " in result.stdout
    assert result.stdout.endswith(f"--config {ROOT}/configs/demo_grpo.yaml\n")
