"""The check for one GPU: pieces that can be carried, parts that end in time, and a report of whatever came back."""

from __future__ import annotations

import json
import sys
import time

from benchmarks.gpu_check import build, report, run
from benchmarks.gpu_check.parts import PARTS, shared_row


def test_pieces_are_small_enough_and_give_the_files_back(tmp_path):
    wheels, pieces = tmp_path / "wheels", tmp_path / "pieces"
    wheels.mkdir()
    files = {"large.whl": bytes(range(256)) * 10, "small.whl": b"abc", "empty.whl": b""}
    for name, content in files.items():
        (wheels / name).write_bytes(content)
    listed = build.split(wheels, pieces, 1000)
    assert max(part.stat().st_size for part in pieces.glob("*.whl.*")) <= 1000
    assert [entry["file"] for entry in listed][-1] == "large.whl", "small ones first"
    journeys = build.loads(listed, pieces, 1000)
    assert all(sum((pieces / part).stat().st_size for part in load) <= 1000 for load in journeys)
    assert sorted(sum(journeys, [])) == sorted(part.name for part in pieces.glob("*.whl.*"))
    assert set(build.join(pieces, tmp_path / "there")) == set(files)
    assert {name: (tmp_path / "there" / name).read_bytes() for name in files} == files


def test_a_missing_or_damaged_piece_leaves_its_file_out_and_is_said(tmp_path, capsys):
    wheels, pieces = tmp_path / "wheels", tmp_path / "pieces"
    wheels.mkdir()
    for name in ("a.whl", "b.whl", "c.whl"):
        (wheels / name).write_bytes(name.encode() * 300)
    build.split(wheels, pieces, 1000)
    (pieces / "a.whl.001").unlink()
    (pieces / "b.whl.000").write_bytes(b"x" * 1000)
    assert build.join(pieces, tmp_path / "there") == ["c.whl"]
    said = capsys.readouterr().out
    assert "missing  a.whl: a.whl.001" in said and "damaged  b.whl" in said
    assert [file.name for file in (tmp_path / "there").iterdir()] == ["c.whl"]


def part(code: str, limit: float = 20.0):
    return run.run_part("engine", [sys.executable, "-c", code], limit)


def test_a_part_says_what_it_found_or_how_it_ended():
    assert part("print('noise'); print('{\"freed\": 3.5}')") | {"seconds": 0} == {
        "part": "engine",
        "state": "done",
        "seconds": 0,
        "freed": 3.5,
    }
    assert part('print(\'{"state": "needs a GPU"}\')')["state"] == "needs a GPU"
    failed = part("raise ValueError('no kernel image')")
    assert (failed["state"], failed["code"]) == ("failed", 1) and "no kernel image" in failed["said"]
    assert part("print('not JSON')")["state"] == "failed"


def test_a_part_that_takes_too_long_is_ended_with_its_children():
    start = time.monotonic()
    late = part("import subprocess; print('begun', flush=True); subprocess.run(['sleep', '600'])", limit=3.0)
    assert late["state"] == "late" and "begun" in late["said"] and time.monotonic() - start < 20


def test_the_check_writes_what_it_has_after_every_part_and_begins_none_without_time(tmp_path, monkeypatch):
    seen = []

    def stand_in(name, command, limit):
        seen.append((name, limit))
        return {"part": name, "state": "done", "seconds": 1.0}

    monkeypatch.setattr(run, "run_part", stand_in)
    assert run.main(["--json", str(tmp_path / "all.json")]) == 0
    assert [name for name, _ in seen] == list(PARTS) and sum(limit for _, limit in seen) <= 540.01
    assert run.main(["--json", str(tmp_path / "none.json"), "--seconds", "1"]) == 1
    parts = json.loads((tmp_path / "none.json").read_text())["parts"]
    assert [p["state"] for p in parts] == ["not begun"] * len(PARTS)


def test_the_report_shows_findings_and_failures(tmp_path):
    result = {
        "machine": {"cpu": "some", "gpu": "NVIDIA H100"},
        "parts": [
            {"part": "engine", "state": "done", "seconds": 80.0, "GiB freed": 21.04999},
            {"part": "size", "state": "failed", "seconds": 3.0, "code": 1, "said": "out of memory"},
        ],
    }
    (tmp_path / "in.json").write_text(json.dumps(result))
    assert report.main([str(tmp_path / "in.json"), "--out", str(tmp_path / "out.md")]) == 0
    text = (tmp_path / "out.md").read_text()
    assert "NVIDIA H100" in text and "| GiB freed | 21.05 |" in text
    assert "| size | failed | 3.0 |" in text and "out of memory" in text


def test_a_shared_row_is_timed_in_both_ways():
    found = shared_row("cpu", prompt=20, completion=6, group=3, heads=4)
    assert set(found) == {"ms, a shared row in one mask", "ms, a shared row in blocks"} and min(found.values()) > 0
