"""An evaluation that several processes share: the same rows in the same order, and nothing is written twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from online_rl.cli import app
from online_rl.commands.eval import command, process
from online_rl.commands.eval.worker import part_of
from online_rl.errors import ConfigError, RankFailed
from tests.unit.commands.eval.writing import FAR, Writes, rows

OUT = Path("out/policy")


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_parts_put_together_are_the_whole(evaluate, count):
    evaluate(Writes(s1=FAR, s4=None), into="whole")
    asked = []
    for place in range(count):
        writes = Writes(s1=FAR, s4=None)
        evaluate(writes, into=str(part_of(OUT, (place, count))), part=(place, count))
        asked += writes.asked
    last = Writes(s1=FAR, s4=None)
    evaluate(last)
    assert rows() == rows("whole")
    assert sorted(asked) == ["s0", "s1", "s2", "s3", "s5"] and last.asked == []
    assert not list(OUT.glob("part-*")), "what has been put together is not kept twice"


def test_what_a_part_has_not_finished_is_written_in_the_end(evaluate):
    evaluate(Writes(), into=str(part_of(OUT, (0, 2))), part=(0, 2))
    last = Writes()
    evaluate(last)
    assert last.asked == ["s1", "s3", "s5"] and [row["study_id"] for row in rows()] == [f"s{i}" for i in range(6)]


def test_a_part_of_another_evaluation_is_not_taken(evaluate):
    evaluate(Writes(), into=str(part_of(OUT, (0, 2))), part=(0, 2), reports=True)
    last = Writes()
    evaluate(last)
    assert len(last.asked) == 6 and list(OUT.glob("part-*"))


def test_a_part_that_was_finished_is_not_written_again(evaluate):
    place = {"into": str(part_of(OUT, (1, 2))), "part": (1, 2)}
    evaluate(Writes(), **place)
    again = Writes()
    assert "are in" in evaluate(again, **place) and again.asked == []


@pytest.mark.parametrize(
    ("visible", "asked", "expected"),
    [
        ("0,1,2", None, ["0", "1", "2"]),
        ("4, 6", 2, ["4", "6"]),
        ("4,6", 1, [None]),
        ("5", None, [None]),
        ("-1", None, [None]),
        ("", 2, [None, None]),
    ],
)
def test_each_process_has_a_gpu_of_its_own(monkeypatch, visible, asked, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert command._gpus(asked) == expected


def test_more_processes_than_gpus_are_refused_with_both_numbers(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ConfigError, match=r"--processes: found 3, expected at most 2"):
        command._gpus(3)


WORKER = """
import json, os, pathlib, sys, time
task = json.load(sys.stdin)
place = pathlib.Path(task["folder"])
(place / "gpu").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
if task.get("part") == [1, 2] and "fails" in os.environ:
    sys.exit(3)
while "fails" in os.environ:
    time.sleep(0.05)
"""


@pytest.fixture
def workers(folder, monkeypatch):
    """`python -m` of the worker is a script that writes which GPU it was given; with $fails the second one fails."""
    (folder / "stand_in.py").write_text(WORKER)
    plain = process.subprocess.Popen
    monkeypatch.setattr(
        process.subprocess,
        "Popen",
        lambda command, **given: plain([sys.executable, str(folder / "stand_in.py")], **given),
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,7")
    return folder


def test_the_command_starts_a_process_per_gpu_and_one_that_joins_them(workers):
    arguments = ["eval", "policy", "--config", "mine.yaml", "-o", "out"]
    CliRunner().invoke(app, arguments)  # fails in the end: the stand-ins write no rows
    found = {str(path.parent): path.read_text() for path in Path("out").rglob("gpu")}
    assert found == {"out/policy/part-1-of-2": "3", "out/policy/part-2-of-2": "7", "out/policy": "3,7"}


@pytest.mark.timeout(60)
def test_when_one_fails_the_others_are_stopped_and_its_code_is_told(workers, monkeypatch):
    monkeypatch.setenv("fails", "1")
    task = command.worker.Task({}, {"label": "x"}, "out/x", "eval", None, False, False)
    with pytest.raises(RankFailed) as raised:
        command._evaluate(task, ["3", "7"], print)
    assert raised.value.code == 3
