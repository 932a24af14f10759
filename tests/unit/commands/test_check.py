"""`online-rl config check` looks for what a configuration names, on this machine, and runs none of it."""

from __future__ import annotations

import json

import pytest

from online_rl.cli import main

JUDGE = "def reward(completions, **kw):\n    return [0.0] * len(completions)\n"


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Check a configuration beside rewards.py and studies.jsonl; returns the exit code and what was said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rewards.py").write_text(
        "raise SystemExit('this code ran')\n" + JUDGE + "if True:\n    late = reward\n"
    )
    (tmp_path / "studies.jsonl").write_text("{}\n")

    def check(sections, *options):
        (tmp_path / "config.yaml").write_text(json.dumps(sections))
        code = main(["config", "check", "config.yaml", *options])
        said = capsys.readouterr()
        return code, said.err if code else said.out

    return check


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"judges": [{"use": "finding"}]}, "judges[0].use: judge 'finding' is not known.*Did you mean 'findings'"),
        ({"guards": [{"use": "gren", "name": "g"}]}, "guards[0].use: judge 'gren' is not known.*'green'"),
        ({"judges": [{"use": "none.py:reward"}]}, "judges[0].use: judge .*no file none.py (looked from"),
        (
            {"judges": [{"use": "rewards.py:rewrad"}]},
            "rewards.py has no 'rewrad'; it holds: reward. Did you mean 'reward'",
        ),
        ({"judges": [{"use": "broken.py:f"}]}, "broken.py is not readable as Python: .*(line 2)"),
        ({"judges": [{"use": "no_such_package.judges:f"}]}, "no module 'no_such_package' is installed"),
        ({"judges": [{"use": ":f"}]}, "expected package.module:object"),
        ({"judges": [{"use": "python:mine"}]}, "was given to online_rl.train in Python"),
        ({"algorithm": {"name": "mine.py:Loss"}}, "algorithm.name 'mine.py:Loss': no file mine.py"),
        ({"data": {"reader": "jsonl", "path": "none.jsonl"}}, "data.path: none.jsonl is not there, expected a file"),
        ({"data": {"reader": "iu_xray", "path": "studies.jsonl"}}, "which is a file, expected a folder"),
        (
            {"data": {"reader": "rows.py:read", "path": "none"}},
            "data.path: none is not there, expected a file or folder",
        ),
        ({"data": {"reader": "jsonl", "path": "studies.jsonl", "image_root": "png"}}, "data.image_root: found 'png'"),
        ({"data": {"reader": "python"}}, "were given to online_rl.train"),
        ({"model": {"path": "./policy"}}, "model.path: no folder './policy'"),
        ({"demo": {"reports": "iu"}}, "demo.reports: found 'iu', expected a folder"),
    ],
)
def test_what_is_not_there_is_named_unless_it_is_elsewhere(check, tmp_path, sections, words):
    (tmp_path / "broken.py").write_text("x = 1\ndef f(:\n")
    code, said = check(sections)
    assert code == 2
    start, *rest = words.split(".*")
    assert start in said and all(word in said for word in rest), said
    assert check(sections, "--elsewhere")[0] == 0


def test_everything_that_is_missing_is_said_at_once(check):
    code, said = check({"judges": [{"use": "finding"}], "data": {"reader": "csv", "path": "a.csv"}})
    assert code == 2 and "'finding'" in said and "a.csv is not there" in said


@pytest.mark.parametrize(
    "use", ["rewards.py:reward", "rewards.py:late", "./rewards.py:reward", "json:dumps", "findings"]
)
def test_what_is_there_is_ok_and_is_not_run(check, use):
    sections = {"judges": [{"use": use, "name": "r"}], "data": {"reader": "jsonl", "path": "studies.jsonl"}}
    code, said = check(sections)
    assert code == 0 and said.endswith("ok\n")
