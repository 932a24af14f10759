"""A short run of the fuzz benchmark: nothing damaged is read wrongly, and the benchmark would notice if it were."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.fixture(scope="module")
def fuzz(root):
    sys.path.insert(0, str(root / "benchmarks"))  # as when the script is started
    try:
        return importlib.import_module("parser_fuzz")
    finally:
        sys.path.pop(0)


def test_nothing_damaged_is_read_wrongly(fuzz):
    result = fuzz.run(5000, seed=3)
    assert result["total"]["wrong"] == 0
    assert result["readable"] == result["intact"] > 500
    assert all(row["mutants"] > 10 for row in result["rows"].values())


def test_a_reader_that_fails_open_is_found_out(fuzz, monkeypatch):
    """Counts by a search for a number behind each label, the sections wherever they are, 0 for what is missing."""

    def lenient(text: str) -> float | None:
        import re

        significant = re.search(r"\[Clinically Significant Errors\]:(.*?)(?:\n\n|\Z)", text, re.DOTALL)
        matched = re.search(r"\[Matched Findings\]:\n(\d+)", text)
        errors = sum(map(int, re.findall(r": (\d+)\.", significant[1]))) if significant else 0
        return int(matched[1]) / (int(matched[1]) + errors) if matched and int(matched[1]) else 0.0

    monkeypatch.setattr(fuzz, "our_reader", lambda most: lenient)
    result = fuzz.run(2000, seed=3)
    found_out = {name for name, row in result["rows"].items() if row["wrong"]}
    assert {"header missing", "period lost", "blank line inside", "fake block before", "absurd count"} <= found_out
