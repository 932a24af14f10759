"""The judge `crimson` with the real prompt and arithmetic of crimson-score 0.2."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from judges.crimson import SCHEMA, Crimson
from tests.metrics.conftest import ROOT
from tests.unit.judges.test_crimson import ANSWER


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crimson]:
    """The package in a folder of its own, installed as requirements/crimson.txt says."""
    folder = tmp_path_factory.mktemp("crimson")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder]
    subprocess.run([*command, "-r", "requirements/crimson.txt"], cwd=ROOT, check=True)
    sys.path.insert(0, str(folder))
    yield Crimson(guidelines=False)
    sys.path.remove(str(folder))


def test_the_value_by_hand(rules):
    # Reference: .5 + 1 = 1.5. Matched: .5, of which a significant error in a detail leaves .5 / (.5 + .5). False: .25.
    # (.5 * .5 - .25) / 1.5 = 0
    assert rules.score(json.dumps(ANSWER)).value == 0.0
    right = {**ANSWER, "errors": {**ANSWER["errors"], "attribute_errors": []}}
    assert rules.score(json.dumps(right)).value == pytest.approx((0.5 - 0.25) / 1.5, abs=1e-4)


def test_nothing_said_of_a_normal_study_is_perfect_which_is_crimsons_hole(rules):
    nothing = {"reference_findings": [], "predicted_findings": [], "matched_findings": []}
    errors = {"false_findings": [], "missing_findings": [], "attribute_errors": []}
    assert rules.score(json.dumps({**nothing, "errors": errors})).value == 1.0
    assert rules.empty.value is None


def test_the_prompt_is_the_package_s_and_asks_for_what_is_read(rules):
    system, user = rules.messages("small effusion", "clear lungs", "cough")
    assert system["role"] == "system" and "small effusion" in user["content"] and "clear lungs" in user["content"]
    assert "indication: cough" in user["content"]
    for key in (*SCHEMA["properties"], *SCHEMA["properties"]["errors"]["properties"]):
        assert f'"{key}"' in user["content"]
    assert len(Crimson(guidelines=True).messages("a", "b", "")[1]["content"]) > len(user["content"])


def test_what_is_used_of_the_package_needs_nothing_else(rules):
    folder = next(path for path in sys.path if Path(path, "CRIMSON").is_dir())
    code = f"import sys; sys.path.insert(0, {folder!r}); import CRIMSON.generate_score, CRIMSON.prompt_parts"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
