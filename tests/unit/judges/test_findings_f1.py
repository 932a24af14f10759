"""The reward `findings_f1`: its formula by hand, what it makes of a chance, and what it does not look at."""

import pytest

from judges.base import Case, Status
from judges.errors import JudgeError
from judges.findings import FindingsF1
from judges.registry import load_judge

NORMAL = "No pleural effusion. No pneumothorax. The heart is normal in size."
SICK = "Small left pleural effusion. Mild cardiomegaly. No pneumothorax."


def value(candidate, reference, **settings):
    [score] = FindingsF1(**settings).score([Case("s1", candidate, reference)])
    return score.value


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        (NORMAL, NORMAL, 1.0),
        ("", NORMAL, 1.0),  # silence is right about a normal study
        ("Left effusion.", NORMAL, 1 / 1.5),  # one false claim: 1 / (1 + .5)
        ("Left effusion. Pulmonary edema.", NORMAL, 1 / 2),  # two: 1 / (1 + .5 + .5)
        (SICK, SICK, 3 / 3),
        (NORMAL, SICK, 1 / 3),  # two are missing: 1 / (1 + 2)
        ("Small left effusion.", SICK, 2 / 3),  # (1 + 1) / (1 + 1 + 1)
        ("Small left effusion. Edema.", SICK, 2 / 3.5),  # and a false one: 2 / (1 + 1 + .5 + 1)
    ],
)
def test_the_formula_by_hand(candidate, reference, expected):
    assert value(candidate, reference) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("candidate", "credit"),
    [
        ("Small left pleural effusion.", 1.0),
        ("Pleural effusion.", 1.0),  # says less, and nothing wrong
        ("Small right pleural effusion.", 0.75),
        ("Large left pleural effusion.", 0.75),
        ("Large right pleural effusion.", 0.5),
    ],
)
def test_a_wrong_attribute_takes_a_quarter_off_a_true_finding(candidate, credit):
    assert value(candidate, "Small left pleural effusion.") == pytest.approx((credit + 1) / 2)


def test_a_true_finding_with_the_worst_attributes_is_still_worth_more_than_silence():
    silent = value("No pneumothorax.", "Small left pleural effusion.")
    assert value("Large right pleural effusion.", "Small left pleural effusion.") == 0.75 > silent == 0.5
    floored = value("Large right pleural effusion.", "Small left pleural effusion.", attribute_penalty=0.4)
    assert floored == pytest.approx((0.5 + 1) / 2)  # 1 - 2 x .4 = .2 is below the floor


@pytest.mark.parametrize(("others", "threshold"), [(0, 0.40), (1, 0.375), (2, 0.3636), (9, 0.3438)])
def test_a_claim_pays_from_two_fifths_down_to_a_third(others, threshold):
    """p* = loss / (gain + loss) with S = others + 1: gain 1 - S / (S + 1), loss 1 - S / (S + .5)."""
    entities = ["edema", "cardiomegaly", "pneumothorax", "consolidation", "atelectasis", "emphysema", "scoliosis"]
    entities += ["hiatal hernia", "pulmonary nodule"]
    rest = " ".join(f"There is {entity}." for entity in entities[:others]) or "No pneumonia."
    claim = f"{rest} There is a pleural effusion."
    gain = value(claim, claim) - value(rest, claim)
    loss = value(rest, rest) - value(claim, rest)
    assert loss / (gain + loss) == pytest.approx(threshold, abs=5e-4)


def test_normal_statements_and_comparisons_neither_earn_nor_cost():
    silent = value("Small left pleural effusion.", SICK)
    assert value("Small left pleural effusion. No pneumothorax. No edema.", SICK) == silent
    assert value("Small left pleural effusion, unchanged from prior.", SICK) == silent


def test_parts_count_what_the_value_is_made_of():
    [score] = FindingsF1().score([Case("s1", "Large left effusion. Edema.", SICK)])
    assert score.parts == {"true_positives": 1, "false_positives": 1, "false_negatives": 1, "attribute_errors": 1}
    assert score.value == pytest.approx((0.75 + 1) / (1 + 1 + 0.5 + 1))


def test_a_reference_in_which_nothing_is_understood_is_unscorable_and_not_a_normal_one():
    [score] = FindingsF1().score([Case("s1", NORMAL, "Kein Pleuraerguss.")])
    assert score.status is Status.UNSCORABLE and score.value is None


@pytest.mark.parametrize(
    "settings", [{"smoothing": 0}, {"false_weight": -1}, {"missing_weight": 0}, {"attribute_floor": 1.5}]
)
def test_parameters_out_of_range_are_refused_by_name(settings):
    with pytest.raises(JudgeError, match=next(iter(settings))):
        FindingsF1(**settings)


def test_it_is_named_findings_f1_in_a_configuration():
    judge = load_judge("findings_f1", {"smoothing": 2.0})
    assert judge.name == "findings_f1" and judge.smoothing == 2.0


def test_it_has_nothing_that_a_run_would_take_for_a_method() -> None:
    """A run calls `start()` and `close()` of a judge that has them."""
    judge = load_judge("findings_f1")
    assert all(callable(getattr(judge, name)) for name in ("start", "close", "sleep", "adapt") if hasattr(judge, name))
