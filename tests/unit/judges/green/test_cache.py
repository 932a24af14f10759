"""The cache of scores: hits across instances and processes, none across judges, and no harm from garbage."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys

import pytest

from judges import Case, Score
from judges.green.cache import ScoreCache, cache_key

REFERENCE = "the lungs are clear. no pleural effusion."
BATCH = [Case("s1", text, REFERENCE) for text in ("the lungs are clear.", "the heart is large.", "a small effusion.")]


def values(judge) -> list[float | None]:
    return [s.value for s in asyncio.run(judge.score(BATCH))]


def test_a_later_run_reads_what_an_earlier_one_scored(stub, make_judge):
    first, second = make_judge(stub.url), make_judge(stub.url)
    scores = asyncio.run(first.score(BATCH))
    again = asyncio.run(second.score(BATCH))
    assert len(stub.bodies) == 3 and second.drain_metrics()["cache_hits"] == 3
    assert [(s.value, s.parts) for s in again] == [(s.value, s.parts) for s in scores]


@pytest.mark.parametrize("other", [{"analysis": "full"}, {"max_tokens": 100}, {"constrain": "always"}])
def test_another_way_of_asking_reads_nothing(stub, make_judge, other):
    values(make_judge(stub.url))
    judge = make_judge(stub.url, **other)
    values(judge)
    assert judge.drain_metrics()["cache_hits"] == 0


def test_another_model_reads_nothing(stub, make_judge, checkpoint, tmp_path):
    import shutil

    values(make_judge(stub.url))
    stub.model = str(shutil.copytree(checkpoint, tmp_path / "other"))
    judge = make_judge(stub.url, model=stub.model)
    values(judge)
    assert judge.drain_metrics()["cache_hits"] == 0


def test_keys_differ_with_everything_they_are_made_of():
    base = {"model": "a", "prompt": [1, 2], "sampling": "greedy"}
    keys = {cache_key(**base), cache_key(**{**base, "prompt": [1, 3]}), cache_key(**{**base, "model": "b"})}
    assert len(keys) == 3


def test_a_file_of_garbage_is_set_aside_logged_and_begun_anew(stub, make_judge, tmp_path, caplog):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "cache.db").write_bytes(b"garbage" * 1000)
    judge = make_judge(stub.url)
    with caplog.at_level(logging.WARNING):
        assert values(judge) == [0.75] * 3
    assert "is damaged" in caplog.text and str(folder) in caplog.text
    assert "clear lungs" not in caplog.text
    assert judge.drain_metrics()["cache_damaged"] == 1
    again = make_judge(stub.url)
    values(again)
    assert again.drain_metrics()["cache_hits"] == 3, "the new one is in use"


def test_a_database_that_goes_bad_under_way_costs_no_score(stub, make_judge, tmp_path):
    judge = make_judge(stub.url)
    values(judge)
    for path in (tmp_path / "cache").glob("cache.db*"):
        path.write_bytes(b"\xff" * max(4096, path.stat().st_size))
    other = make_judge(stub.url)
    assert values(other) == values(judge) == [0.75] * 3


@pytest.mark.parametrize("entry", ["text", {"value": "nan?"}, {"value": None, "parts": {}, "detail": ""}, [1], 3])
def test_an_entry_that_is_no_score_is_scored_again(tmp_path, entry, caplog):
    cache = ScoreCache(tmp_path / "c")
    cache._cache.set("key", entry)
    assert cache.get("key") is None and cache.damaged == 1
    cache.put("key", Score(0.5, parts={"matched_findings": 1.0}))
    assert cache.get("key") == Score(0.5, parts={"matched_findings": 1.0})


def test_a_place_that_cannot_hold_a_cache_is_gone_without(stub, make_judge, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    judge = make_judge(stub.url, cache_dir=str(tmp_path / "file" / "cache"))
    assert values(judge) == [0.75] * 3
    assert "going on without it" in caplog.text


def test_only_scores_are_kept(tmp_path):
    cache = ScoreCache(tmp_path / "c")
    cache.put("a", Score.unscorable("cut"))
    cache.put("b", Score.failed("HTTP 500"))
    assert cache.get("a") is None and cache.get("b") is None


def test_the_folder_is_the_users_alone(tmp_path):
    ScoreCache(tmp_path / "c")
    assert (tmp_path / "c").stat().st_mode & 0o077 == 0


WRITER = """
import sys
from pathlib import Path
from judges import Score
from judges.green.cache import ScoreCache

cache = ScoreCache(Path(sys.argv[1]))
for i in range(40):
    cache.put(f"{sys.argv[2]}-{i}", Score(i / 40, parts={"matched_findings": float(sys.argv[2])}))
    cache.put("shared", Score(0.5))
    assert cache.get("shared") == Score(0.5)
"""


def test_processes_write_side_by_side(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "c"), str(i)]) for i in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    cache = ScoreCache(tmp_path / "c")
    for worker in range(3):
        for i in range(40):
            assert cache.get(f"{worker}-{i}") == Score(i / 40, parts={"matched_findings": float(worker)})
