"""Sections of MIMIC-CXR's reports, as its publishers divide them; the expected texts were worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from online_rl.data.mimic_sections import BY_HAND, sections

CASES = yaml.safe_load((Path(__file__).parent / "mimic_reports.yaml").read_text())
COMPARED = ("findings", "impression", "last_paragraph", "comparison", "indication", "history")


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_sections_are_those_worked_out_by_hand(case):
    found = sections(case["report"])
    assert {name: found[name] for name in COMPARED if name in found} == case["sections"]


def test_there_are_enough_of_them_and_studies_by_hand_are_all_there():
    assert len(CASES) >= 40 and len(BY_HAND) == 23 + 31
