"""Instances of one finding are read apart, and a change of one of them is seen by the score."""

from __future__ import annotations

import pytest

from judges.base import Case
from judges.findings import FindingsJudge
from judges.findings.parse import parse

JUDGE = FindingsJudge()


def errors(candidate: str, reference: str) -> set[str]:
    parts = JUDGE.score([Case("s1", candidate, reference)])[0].parts
    return {name for name in ("wrong_location", "wrong_severity", "false_finding", "missing_finding") if parts[name]}


@pytest.mark.parametrize(
    "text",
    [
        "Moderate right, small left effusion.",
        "Small left effusion. Moderate right effusion.",
        "Bilateral effusions, moderate on the right, small on the left.",
        "- Right effusion: moderate\n- Left effusion: small",
        "| Effusion | right | moderate |\n| Effusion | left | small |",
    ],
)
def test_two_effusions_are_read_apart(text):
    found = {("".join(i.sides), "".join(i.severity)) for i in parse(text).instances["effusion"]}
    assert found == {("R", "2"), ("L", "1")}


def test_a_finding_that_is_absent_has_no_instance():
    assert parse("No effusion. Small nodule.").instances.keys() == {"nodule"}


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        ("Small right, moderate left effusion.", "Moderate right, small left effusion.", {"wrong_severity"}),
        ("Small left and moderate right effusion.", "Moderate right, small left effusion.", set()),
        ("Moderate right effusion.", "Moderate right, small left effusion.", {"wrong_location"}),
        ("RUL nodule. RLL nodule.", "RUL nodule. LLL nodule.", {"wrong_location"}),
        ("Left upper lobe nodule. Right lower lobe nodule.", "RUL nodule. LLL nodule.", {"wrong_location"}),
        ("Small bilateral effusions.", "Small right effusion. Small left effusion.", set()),
        ("Bilateral effusions.", "Moderate right, small left effusion.", set()),
        ("A 30 mm nodule.", "A 12 mm nodule.", {"wrong_severity"}),
        ("A 1.2 cm nodule.", "A 12 mm nodule.", set()),
        ("A 13 mm nodule.", "A 12 mm nodule.", set()),
        ("A nodule.", "A 12 mm nodule.", set()),
        ("Right PICC tip 2 cm above the carina.", "Right PICC tip 6 cm above the carina.", set()),
    ],
)
def test_a_change_of_one_is_seen(candidate, reference, expected):
    assert errors(candidate, reference) == expected


def test_the_order_of_instances_does_not_matter():
    one = parse("Small left effusion. Moderate right effusion. Left effusion.")
    other = parse("Left effusion. Moderate right effusion. Small left effusion.")
    assert one.instances == other.instances
