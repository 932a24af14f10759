"""The findings judge on real reports (IU X-ray): identity, and single edits with known truth."""

from __future__ import annotations

import csv
import importlib
import os
import subprocess
import sys

import pytest

from judges.base import Case
from judges.findings import FindingsJudge


@pytest.fixture(scope="module")
def reports(shared) -> list[str]:
    with (shared / "data" / "iu-xray" / "indiana_reports.csv").open(newline="", encoding="utf-8") as file:
        return [row["findings"] for row in csv.DictReader(file) if len(row["findings"].split()) >= 5]


@pytest.fixture(scope="module")
def edits(root):
    sys.path.insert(0, str(root / "benchmarks"))  # as when the script is started
    try:
        return importlib.import_module("findings_edits")
    finally:
        sys.path.pop(0)


def test_identical_reports_score_one_and_nearly_all_are_understood(reports):
    scores = FindingsJudge().score([Case(str(i), text, text) for i, text in enumerate(reports)])
    understood = [s for s in scores if s.value is not None]
    assert len(understood) >= 0.995 * len(reports)
    assert all(s.value == 1.0 for s in understood)


def test_single_edits_fall_into_their_category(edits, reports):
    caught = total = 0
    for seed, (edit, category) in enumerate(edits.HARMFUL.values()):
        row = edits.run_harmful(FindingsJudge(), reports, edit, category, seed, most=80)
        caught, total = caught + row["right_category_only"], total + row["edits"]
    assert total >= 500 and caught >= 0.95 * total


def test_harmless_edits_leave_the_score_alone(edits, reports):
    changed = total = 0
    for seed, edit in enumerate(edits.HARMLESS.values()):
        row = edits.run_harmless(FindingsJudge(), reports, edit, seed, most=80)
        changed, total = changed + row["score_changed"], total + row["edits"]
    assert total >= 300 and changed <= 0.02 * total


def test_a_benchmark_without_its_reports_says_where_to_name_them(root, tmp_path):
    for folder, words in (
        ("", "found nothing"),
        (str(tmp_path), f"found no {tmp_path}/data/iu-xray/indiana_reports.csv"),
    ):
        done = subprocess.run(
            [sys.executable, str(root / "benchmarks" / "findings_edits.py")],
            env={**os.environ, "PYTHONPATH": str(root), "ONLINE_RL_SHARED": folder},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2 and f"ONLINE_RL_SHARED: {words}" in done.stderr, done.stderr
