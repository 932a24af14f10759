"""How a run ends: its table is printed whatever becomes of its pictures."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from online_rl.build import finish
from online_rl.config import config_from_dict
from online_rl.errors import CheckpointError
from online_rl.evaluate import Evaluation
from online_rl.monitor import Monitor
from online_rl.truth.lost import Lost


@pytest.fixture
def end(tmp_path, capsys):
    """Finish a run in `tmp_path`; returns what is on the console."""

    def end(export=lambda folder, processor: folder.mkdir(), lost=()) -> list[str]:
        loop = SimpleNamespace(
            cfg=config_from_dict({"run": {"dir": str(tmp_path)}}),
            policy=SimpleNamespace(export=export),
            collector=SimpleNamespace(builder=SimpleNamespace(processor=None)),
            monitor=Monitor(tmp_path, 2, enabled=False, tensorboard=False),
            evaluator=SimpleNamespace(studies=["one"], alarms=SimpleNamespace(on={}), lost=lost),
            step=2,
            exported_step=2,
        )
        finish(loop, Evaluation({"reward": 0.25}, []), Evaluation({"reward": 0.75}, []))
        return [line for line in capsys.readouterr().out.splitlines() if line]

    return end


def write_metrics(run_dir) -> None:
    lines = [{"step": step, "reward": 0.1 * step, "step_time": 1.0} for step in (1, 2)]
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def shown(lines: list[str]) -> list[str]:
    """The first word of each line."""
    return [line.split()[0] for line in lines]


def test_the_table_comes_first_and_the_pictures_are_named(end, tmp_path):
    write_metrics(tmp_path)
    lines = end()
    assert shown(lines) == ["greedy", "before", "reward", "trained", "picture", "TensorBoard"]
    assert lines[2].split() == ["reward", "0.250", "0.750", "+0.500"]
    assert lines[4].endswith("curves.png")


def test_a_finding_that_was_given_up_stands_under_the_table(end, tmp_path):
    write_metrics(tmp_path)
    lines = end(lost=[Lost("nasogastric_tube", 44, was=0.55, is_now=0.21)])
    assert shown(lines) == ["greedy", "before", "reward", "reports", "trained", "picture", "TensorBoard"]
    assert "nasogastric tube 0.55 to 0.21 (44 studies)" in lines[3]


def test_without_metrics_there_is_the_table_and_one_warning(end, tmp_path):
    """As where metrics.jsonl could not be written, which the monitor has warned about."""
    lines = end()
    assert shown(lines) == ["greedy", "before", "reward", "trained", "warning:", "TensorBoard"]
    assert "no metrics.jsonl found" in lines[4] and f"online-rl plot {tmp_path}" in lines[4]


def test_a_disk_that_fills_under_the_pictures_does_not_end_a_finished_run(end, tmp_path, full_disk):
    write_metrics(tmp_path)
    with full_disk(2_000):
        lines = end()
    assert shown(lines) == ["greedy", "before", "reward", "trained", "warning:", "TensorBoard"]
    assert "OSError" in lines[4] and "plots" in lines[4]
    assert list((tmp_path / "plots").iterdir()) == []


def test_a_disk_that_fills_under_the_final_export_leaves_no_half_a_model(end, tmp_path, full_disk, monkeypatch):
    write_metrics(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()  # of an earlier end of the run

    def export(folder, processor):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"w" * 100_000)

    with full_disk(2_000), pytest.raises(CheckpointError, match=r"model.*GiB free.*resume=auto"):
        end(export)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "model"]
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["old"]
    end(export)  # once there is room
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["config.json", "model.safetensors"]
