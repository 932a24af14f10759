"""Paths that users type: `~user` of nobody is a path like any other, never a traceback."""

from __future__ import annotations

from pathlib import Path

from online_rl.commands.eval.source import find_run
from online_rl.commands.score.run import _files_among
from online_rl.paths import code_file, is_inside, refuse_overlap, same_place

NOBODY = Path("~nobody-here/x")


def test_a_home_of_nobody_is_a_path_that_is_not_there(tmp_path):
    assert same_place(NOBODY, NOBODY) and not same_place(NOBODY, tmp_path)
    assert is_inside(NOBODY, Path("~nobody-here")) and not is_inside(tmp_path, NOBODY)
    assert code_file("~nobody-here/r.py:f") == Path("~nobody-here/r.py")
    refuse_overlap({"--input": NOBODY}, {"--output": tmp_path})
    assert find_run(str(NOBODY)) is None and _files_among({"file": str(NOBODY)}) == {}


def test_a_home_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert same_place(Path("~/x"), tmp_path / "x") and is_inside(Path("~/x/y"), tmp_path / "x")
    assert code_file("~/r.py:f") == tmp_path / "r.py"
