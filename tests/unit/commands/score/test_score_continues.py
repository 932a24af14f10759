"""An interrupted `online-rl score` continues where it was, and never mixes the rows of two judges."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.commands.score.pairs import PAIRS, many, output, score, write

SLOW = """
import os, time
def reward(completions, **columns):
    with open("asked", "a") as file:
        file.write("x" * len(completions))
    if os.path.exists("hurry"):
        return [1.0] * len(completions)
    time.sleep(0.1)
    return [1.0] * len(completions)
"""


def start_and(stop: signal.Signals, root: Path) -> subprocess.Popen:
    """Score in a process of its own, and end it once some rows are in the journal."""
    command = [sys.executable, "-m", "online_rl.cli", "score", "--judge", "slow.py:reward"]
    command += ["--input", "pairs.jsonl", "--output", "scores.jsonl", "scoring.workers=1"]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    partial = Path("scores.jsonl.partial")
    while not (partial.exists() and partial.read_bytes().count(b"\n") > 3):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(stop)
    process.wait(30)
    return process


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on_where_it_was(folder, root, stop):
    Path("slow.py").write_text(SLOW)
    many()
    ended = start_and(stop, root)
    assert ended.stderr is not None
    if stop is signal.SIGINT:
        assert ended.returncode == 130
        assert "of 60 pairs are scored and kept in scores.jsonl.partial" in ended.stderr.read()
    assert not Path("scores.jsonl").exists()
    kept = Path("scores.jsonl.partial").read_bytes().count(b"\n") - 1
    asked = len(Path("asked").read_text())
    with open("scores.jsonl.partial", "ab") as file:  # as a kill in the middle of a line leaves it
        file.write(b'{"place": 59, "row": {"sco')
    Path("hurry").touch()
    assert score(judge="slow.py:reward") == 0
    assert [row["study_id"] for row in output()] == [f"s{i}" for i in range(60)]
    assert len(Path("asked").read_text()) == asked + 60 - kept
    assert not Path("scores.jsonl.partial").exists()


def test_a_judge_out_of_reach_stops_and_keeps_what_it_has(folder, capsys):
    Path("flaky.py").write_text(
        "import os\nfrom judges import Score\nclass Flaky:\n    name = 'flaky'\n    def score(self, cases):\n"
        "        gone = os.path.exists('gone')\n"
        "        return [Score.failed('HTTP 503') if gone and '7' in c.reference else Score(1.0) for c in cases]\n"
    )
    many(10)
    Path("gone").touch()
    options = ["--batch", "1", "scoring.max_retries=0", "scoring.workers=1"]
    assert score(*options, judge="flaky.py:Flaky") == 3
    error = capsys.readouterr().err
    assert "failed on 1 of 1 pairs after 0 retries: HTTP 503" in error and "7 of 10 pairs are scored" in error
    assert not Path("scores.jsonl").exists()
    Path("gone").unlink()
    assert score(*options, judge="flaky.py:Flaky") == 0
    assert len(output()) == 10


def test_rows_of_another_run_are_never_mixed_in(folder, capsys, monkeypatch):
    write(PAIRS)
    Path("boom.py").write_text(
        "def reward(completions, study_id, **columns):\n    return [1.0 if s == 's1' else 1 / 0 for s in study_id]\n"
    )
    assert score("scoring.workers=1", judge="boom.py:reward") == 2
    before = Path("scores.jsonl.partial").read_text()
    capsys.readouterr()
    assert score() == 2
    assert "2 rows of another run (other args" not in (error := capsys.readouterr().err)
    assert "2 rows of another run (other judge, judge's code and arguments)" in error
    write([*PAIRS, PAIRS[0]])
    assert score(judge="boom.py:reward") == 2
    assert "other input, rows" in capsys.readouterr().err
    assert Path("scores.jsonl.partial").read_text() == before
    Path("scores.jsonl.partial").write_text("my own notes\n")
    assert score() == 2
    assert Path("scores.jsonl.partial").read_text() == "my own notes\n"


def test_a_finished_output_is_kept_unless_told_otherwise(folder, capsys):
    write(PAIRS)
    Path("scores.jsonl").write_text("precious\n")
    assert score() == 2
    assert "exists already" in capsys.readouterr().err
    assert Path("scores.jsonl").read_text() == "precious\n" and not Path("scores.jsonl.partial").exists()
    assert score("--overwrite") == 0 and len(output()) == 3


BROKEN = "def reward(completions, **columns):\n    return [1.0 / 0] * len(completions)\n"


def test_a_repaired_reward_goes_on_where_nothing_was_scored(folder, capsys):
    """The first try ended in an error of the function; its journal holds no row that could be mixed up."""
    write(PAIRS)
    Path("mine.py").write_text(BROKEN)
    assert score(judge="mine.py:reward") == 2
    for name in [name for name in sys.modules if name.startswith("_outside_mine")]:  # other tests' as well
        del sys.modules[name]
    Path("mine.py").write_text(BROKEN.replace("1.0 / 0", "0.5"))
    assert score(judge="mine.py:reward") == 0
    assert [row["score"] for row in output()] == [0.5] * 3
    assert "another run" not in capsys.readouterr().err


def test_rows_of_another_judge_are_scored_again_if_one_says_so(folder, capsys):
    write(PAIRS)
    Path("mine.py").write_text(
        "def reward(completions, **columns):\n    if '2' in columns['study_id'][0]:\n        raise ValueError\n"
        "    return [0.25] * len(completions)\n"
    )
    assert score("scoring.workers=1", judge="mine.py:reward") == 2
    assert score(judge="findings") == 2
    assert "holds 2 rows of another run (other judge" in (error := capsys.readouterr().err) and "--overwrite" in error
    assert score("--overwrite", judge="findings") == 0
    assert [row["score"] for row in output()][:2] == [1.0, 0.5]


@pytest.mark.parametrize("left", [b'{"rows": 3, "inp', b"{"])
def test_a_header_that_was_cut_off_is_written_again(folder, left):
    write(PAIRS)
    Path("scores.jsonl.partial").write_bytes(left)
    assert score() == 0 and len(output()) == 3


@pytest.mark.parametrize("left", [b"my notes", b"study,score\n1,2\n", b"[1]\n"])
def test_a_file_of_somebody_else_is_left_alone(folder, left, capsys):
    write(PAIRS)
    Path("scores.jsonl.partial").write_bytes(left)
    assert score() == 2 and "is no journal of this program" in capsys.readouterr().err
    assert Path("scores.jsonl.partial").read_bytes() == left
