"""Rubric files: values by hand, answers that are none, and files that are refused."""

from __future__ import annotations

import json

import pytest
import yaml

from judges.base import Status
from judges.errors import ConfigError
from judges.rubric.rubric import SHIPPED, UnreadableAnswer, load_rubric, make_rubric
from tests.unit.judges.rubric.chat_server import counts


@pytest.fixture(params=SHIPPED)
def shipped(request):
    return load_rubric(request.param)


def test_six_kinds_of_error_by_hand():
    rubric = load_rubric("error_count")
    score = rubric.score(counts(matched_findings=3, missing_finding=1, wrong_severity=1))
    assert score.value == pytest.approx(3 / 5) and score.parts["errors"] == 2 and score.parts["missing_finding"] == 1
    assert rubric.score(counts(matched_findings=2)).value == 1.0 and rubric.score(counts(false_finding=1)).value == 0.0


def severity(normal: bool, matched=(), errors=()) -> str:
    found = [{"finding": "x", "severity": s} for s in matched]
    wrong = [{"kind": kind, "finding": "x", "severity": s} for kind, s in errors]
    return json.dumps({"reference_is_normal": normal, "matched": found, "errors": wrong})


def test_severities_weigh_by_hand():
    rubric = load_rubric("severity")
    # matched 1 + .2, errors .5: 1.2 / 1.7
    score = rubric.score(severity(False, ["critical", "minor"], [("missing_finding", "relevant")]))
    assert score.value == pytest.approx(1.2 / 1.7)
    assert score.parts["error_weight"] == 0.5 and score.parts["missing_finding"] == 1
    # a normal study: .5 for saying so, and 1 / 3 with a critical finding invented
    assert rubric.score(severity(True)).value == 1.0
    assert rubric.score(severity(True, errors=[("false_finding", "critical")])).value == pytest.approx(0.5 / 1.5)


def test_a_report_that_says_nothing_has_the_lowest_value(shipped):
    assert shipped.empty.status is Status.SCORED and shipped.empty.value == 0.0
    assert shipped.empty.parts["missing_finding"] == 1.0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("The candidate misses an effusion.", "not one JSON value"),
        ("", "not one JSON value"),
        (counts(matched_findings=1)[:-3], "not one JSON value"),
        (f"```json\n{counts(matched_findings=1)}\n```", "not one JSON value"),
        (f"{counts(matched_findings=1)} {counts(matched_findings=1)}", "not one JSON value"),
        (f"[{counts(matched_findings=1)}]", "a JSON list, not an object"),
        ("7", "a JSON int, not an object"),
        (counts(matched_findings=-1), "minimum"),
        (counts(matched_findings=999), "maximum"),
        (counts(matched_findings=1).replace("1", "NaN", 1), "NaN"),
        (counts(matched_findings=1).replace("1", "1e999", 1), "does not fit"),
        (counts(matched_findings=1).replace("1", '"1"', 1), "properties.matched_findings.type"),
        (counts(matched_findings=1).replace("1", "true", 1), "properties.matched_findings.type"),
        (counts(effusion=1), "additionalProperties"),
        ('{"matched_findings": 1}', "required"),
        (counts(matched_findings=1)[:-1] + ', "matched_findings": 9}', "a key twice"),
        (counts(), "value of the answer divides by 0"),
        ("[" * 100_000, "not one JSON value|nested too deeply"),
    ],
)
def test_what_is_no_answer_is_unreadable_and_never_a_number(answer, words):
    with pytest.raises(UnreadableAnswer, match=words) as found:
        load_rubric("error_count").score(answer)
    assert "effusion" not in str(found.value), "messages hold no report text"


@pytest.mark.parametrize(
    "answer",
    [
        severity(False, ["urgent"]),
        severity(False, ["critical"], [("missing_finding", "unknown")]),
        severity(False, ["critical"], [("typo", "minor")]),
        severity(False),  # abnormal, nothing matched, nothing missed
    ],
)
def test_a_severity_that_the_rubric_lacks_is_no_small_error(answer):
    with pytest.raises(UnreadableAnswer):
        load_rubric("severity").score(answer)


def test_a_number_too_large_for_a_reward_is_unreadable():
    data = yaml.safe_load(RUBRIC)
    schema = {"type": "object", "properties": {"x": {"type": "number"}}}
    data |= {"schema": schema, "value": "x", "constants": {}, "empty": {"x": 0}}
    with pytest.raises(UnreadableAnswer, match="no finite number of at most 1e\\+15"):
        make_rubric(data, "mine").score('{"x": 1e30}')


def test_weights_that_do_not_cover_the_schema_are_no_default():
    data = yaml.safe_load(RUBRIC)
    data |= {"schema": {"type": "object"}, "value": "x | weigh(w) | sum", "constants": {"w": {"high": 1.0}, "x": []}}
    rubric = make_rubric(data | {"empty": {"x": [{"severity": "high"}]}}, "mine")
    with pytest.raises(UnreadableAnswer, match="a severity that the rubric lacks"):
        rubric.score('{"x": [{"severity": "low"}]}')


def test_braces_in_reports_are_no_template(shipped):
    text = shipped.messages("{{ 7 * 7 }} {% if %}", "{{ reference }}", "")[-1]["content"]
    assert "{{ 7 * 7 }} {% if %}" in text and "{{ reference }}" in text and "49" not in text
    assert text.index("7 * 7") < text.index("{{ reference }}"), "the candidate comes last, for the prefix cache"


RUBRIC = """
prompt: "{{ reference }} or {{ candidate }}?"
schema: {type: object, required: [n], properties: {n: {type: integer}}}
value: 1 / (1 + n)
empty: {n: 9}
"""


def test_a_rubric_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(RUBRIC)
    rubric = load_rubric(str(path))
    assert rubric.score('{"n": 3}').value == 0.25 and rubric.empty.value == 0.1 and rubric.name == "mine"
    assert rubric.fingerprint != load_rubric("severity").fingerprint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"valeu": "n"}, "unknown key 'valeu'"),
        ({"value": None}, "no 'value'"),
        ({"value": "1 / (1 + m)"}, "value: m is not known; expected n"),
        ({"value": "1 / ("}, "value: "),
        ({"value": "n | nothing"}, "value: No filter named 'nothing'"),
        ({"value": "n.__class__.__mro__"}, "empty: value of the answer"),
        ({"parts": {"errors": "k"}}, "parts|errors: k is not known"),
        ({"prompt": "{{ reference }}"}, "prompt lacks {{ candidate }}"),
        ({"prompt": "{{ reference }} {{ candidate }} {{ images }}"}, "prompt: images is not known"),
        ({"prompt": 7}, "prompt is no str"),
        ({"schema": {"type": "array"}}, "schema: type is 'array', expected 'object'"),
        ({"schema": {"type": "objekt"}}, "schema: "),
        ({"empty": {"n": "many"}}, "empty: the answer does not fit the schema"),
        ({"empty": {"n": -1}}, "empty: value of the answer divides by 0"),
    ],
)
def test_a_rubric_that_cannot_work_is_refused_when_it_is_loaded(change, words):
    data = yaml.safe_load(RUBRIC) | change
    data = {key: value for key, value in data.items() if value is not None}
    with pytest.raises(ConfigError, match=f"judge rubric: mine.yaml: .*{words}"):
        make_rubric(data, "mine.yaml")


@pytest.mark.parametrize(
    ("content", "words"), [("- a\n", "found list"), ("a: [", "not YAML"), (None, "cannot be read")]
)
def test_a_file_that_is_none_is_refused(tmp_path, content, words):
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        load_rubric(str(path))
