"""CRIMSON asked of a server: read strictly, with a stand-in for the package (tests/metrics has the real one)."""

from __future__ import annotations

import asyncio
import copy
import json
import sys
import types

import pytest

from judges.base import Case, Status
from judges.crimson import MODEL, Crimson
from judges.errors import ConfigError
from judges.registry import load_judge
from judges.rubric.rubric import UnreadableAnswer
from tests.unit.judges.green.stub_server import serving
from tests.unit.judges.rubric.chat_server import Chat

ANSWER = {
    "reference_findings": [
        {"id": "R1", "finding": "effusion", "clinical_significance": "actionable_not_urgent"},
        {"id": "R2", "finding": "nodule", "clinical_significance": "urgent"},
    ],
    "predicted_findings": [
        {"id": "P1", "finding": "effusion", "clinical_significance": "actionable_not_urgent"},
        {"id": "P2", "finding": "fracture", "clinical_significance": "not_actionable_not_urgent"},
    ],
    "matched_findings": [{"ref_id": "R1", "pred_id": "P1"}],
    "errors": {
        "false_findings": ["P2"],
        "missing_findings": ["R2"],
        "attribute_errors": [
            {
                "ref_id": "R1",
                "pred_id": "P1",
                "severity": "significant",
                "error_types": ["location"],
                "explanation": "another side",
            }
        ],
    },
}


@pytest.fixture
def package(monkeypatch):
    class CRIMSONScore:
        def _calculate_crimson(self, evaluation):
            errors = {name: len(found) for name, found in evaluation["errors"].items()}
            return {"crimson_score": 0.25, "error_counts": errors}

    prompts, scores = types.ModuleType("CRIMSON.prompt_parts"), types.ModuleType("CRIMSON.generate_score")
    prompts.build_prompt = lambda ref, said, **how: f"{ref} | {said} | {how}"  # type: ignore[attr-defined]
    scores.CRIMSONScore = CRIMSONScore  # type: ignore[attr-defined]
    whole = types.ModuleType("CRIMSON")
    whole.prompt_parts, whole.generate_score = prompts, scores  # type: ignore[attr-defined]
    for module in (whole, prompts, scores):
        module.__file__ = __file__
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def chat():
    with serving(Chat(answer=lambda body: json.dumps(ANSWER))) as chat:
        yield chat


def test_a_pair_is_asked_about_and_scored_with_its_errors_as_parts(package, chat):
    judge = load_judge("crimson", {"url": chat.url, "model": "llm", "cache": False})
    cases = [Case("s", "effusion", "effusion, nodule", indication="cough"), Case("t", " . ", "effusion")]
    one, empty = asyncio.run(judge.score(cases))
    judge.close()
    assert (judge.name, one.value) == ("crimson", 0.25)
    assert one.parts == {"false_findings": 1, "missing_findings": 1, "attribute_errors": 1}
    assert empty.status is Status.UNSCORABLE and "candidate is empty" in empty.detail
    [body] = chat.bodies
    assert body["response_format"]["json_schema"]["schema"]["required"][0] == "reference_findings"
    assert (
        "effusion, nodule | effusion | {'patient_context': {'indication': 'cough'}" in body["messages"][-1]["content"]
    )


def test_crimson_s_own_model_is_asked_without_the_guidelines_that_it_was_not_trained_with(package):
    for model, guidelines, expected in ((MODEL, None, False), ("other", None, True), (MODEL, True, True)):
        judge = load_judge("crimson", {"url": "http://127.0.0.1:9", "model": model, "guidelines": guidelines})
        assert judge.rubric.guidelines is expected
    assert Crimson(True).fingerprint != Crimson(False).fingerprint


def edited(*path: object, value: object) -> dict:
    answer = copy.deepcopy(ANSWER)
    place: object = answer
    for step in path[:-1]:
        place = place[step]  # type: ignore[index]
    place[path[-1]] = value  # type: ignore[index]
    return answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (edited("reference_findings", 0, "clinical_significance", value="serious"), "schema"),
        (edited("errors", "attribute_errors", 0, "severity", value="moderate"), "schema"),
        (edited("errors", "attribute_errors", 0, "error_types", value=[]), "schema"),
        (edited("reference_findings", 1, "id", value="R1"), "an id stands for two findings"),
        (edited("errors", "missing_findings", value=[]), "stands nowhere"),
        (edited("errors", "false_findings", value=[]), "stands nowhere"),
        (edited("errors", "false_findings", value=["P1", "P2"]), "in two places"),
        (edited("errors", "false_findings", value=["P2", "P2"]), "in two places"),
        (edited("errors", "false_findings", value=["P2", "P9"]), "never listed"),
        (edited("matched_findings", 0, "ref_id", value="R9"), "never listed"),
        (edited("errors", "attribute_errors", 0, "ref_id", value="R2"), "not matched"),
    ],
)
def test_an_answer_to_which_crimson_would_give_a_number_of_its_own_is_unreadable(package, answer, words):
    with pytest.raises(UnreadableAnswer, match=words):
        Crimson(False).score(json.dumps(answer))


def test_nothing_is_repaired(package):
    whole = json.dumps(ANSWER)
    assert Crimson(False).score(f" {whole}\n").value == 0.25
    for text in (f"```json\n{whole}\n```", whole[:-1], whole.replace('"P1"', "P1"), "{}", "[]", "NaN"):
        with pytest.raises(UnreadableAnswer):
            Crimson(False).score(text)


def test_without_the_package_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "CRIMSON", None)
    with pytest.raises(ConfigError, match=r"--no-deps -r requirements/crimson\.txt"):
        load_judge("crimson", {"url": "http://127.0.0.1:9"})
