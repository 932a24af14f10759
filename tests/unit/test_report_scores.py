"""The scores of benchmarks/report_scores.py, loaded as a configuration names them, by hand arithmetic."""

from pathlib import Path

import pytest

from benchmarks.report_scores import repeated_share
from judges.base import Case
from judges.registry import load_judge

SCORES = Path(__file__).resolve().parents[2] / "benchmarks" / "report_scores.py"
REFERENCE = "no pleural effusion. no pneumothorax. mild edema."


def score(name, candidate, reference=REFERENCE, **settings):
    judge = load_judge(f"{SCORES}:{name}", **settings)
    [result] = judge.score([Case("s1", candidate, reference)])
    return result.value


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (REFERENCE, 3 / 3),
        ("no pneumothorax.", 1 / (1 + 1)),  # the edema is missing
        ("no pneumothorax. no pneumothorax. there is no pneumothorax.", 3 / (3 + 1)),
        ("no pneumothorax. left pleural effusion.", 1 / (1 + 2)),  # the edema is missing, the effusion is false
        ("no pleural effusion. small pleural effusion. no pneumothorax.", 1 / (1 + 2)),  # it contradicts itself
        ("small nodule.", 0.0),
    ],
)
def test_a_repeated_match_counts_again(candidate, expected):
    assert score("green_with_repeats", candidate) == pytest.approx(expected)


def test_length_control_takes_away_what_repeating_earns():
    once, twice = "no pneumothorax. no pleural effusion.", "no pneumothorax. no pleural effusion. " * 2
    assert score("green_with_repeats", once) == pytest.approx(2 / 3)
    assert score("green_with_repeats", twice) == pytest.approx(4 / 5)
    controlled = {"length_control": "lc_green"}
    assert score("green_with_repeats", once, **controlled) == pytest.approx(2 / 3)  # 5 words, the reference has 7
    assert score("green_with_repeats", twice, **controlled) == pytest.approx(4 / 5 / (10 / 7))


def test_a_reference_that_states_nothing_is_unscorable():
    assert score("green_with_repeats", "no pneumothorax.", reference="thank you.") is None


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (REFERENCE, 1.0),
        ("no pneumothorax", 2 * 2 / (2 + 7)),
        ("edema, no effusion!", 2 * 2 / (3 + 7)),  # "no effusion" is in order, "edema" comes too early
        ("", 0.0),
    ],
)
def test_rouge_l_counts_the_longest_common_subsequence(candidate, expected):
    assert score("rouge_l", candidate) == pytest.approx(expected)


def test_repetition_is_of_whole_sentences_of_one_report():
    assert repeated_share("no effusion. no edema. No effusion! no effusion") == pytest.approx(2 / 4)
    assert repeated_share("no effusion. no pleural effusion.") == 0
    assert repeated_share("") == 0
