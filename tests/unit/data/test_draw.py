"""Studies for evaluation: spread over patients, the same in every run, a smaller draw inside a larger one."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from online_rl.data.draw import draw_by_patient
from online_rl.data.study import Study


def study(number: int, patient: str = "") -> Study:
    return Study(f"s{number}", patient, ("image.png",), "", "clear")


# 40 patients with 1 to 8 studies each, in the order of their ids, as credentialed data sets list them.
COHORT = [study(100 * p + n, f"p{p}") for p in range(40) for n in range(1 + p % 8)]

PINNED = ["s2303", "s3100", "s3904", "s3603", "s1503"]


def ids(studies: list[Study]) -> list[str]:
    return [found.study_id for found in studies]


@pytest.mark.parametrize("count", [1, 4, 39, 40])
def test_no_patient_is_drawn_twice_while_others_wait(count):
    assert len({found.patient_id for found in draw_by_patient(COHORT, count)}) == count


@pytest.mark.parametrize("count", [60, 100, 150])
def test_patients_differ_by_one_study_unless_they_have_no_more(count):
    drawn = Counter(found.patient_id for found in draw_by_patient(COHORT, count))
    have = Counter(found.patient_id for found in COHORT)
    most = max(drawn.values())
    assert all(drawn[patient] >= min(most - 1, have[patient]) for patient in have)


def test_the_order_of_rows_does_not_matter():
    shuffled = random.Random(1).sample(COHORT, len(COHORT))
    assert ids(draw_by_patient(shuffled, 50)) == ids(draw_by_patient(COHORT, 50))


def test_a_smaller_draw_is_the_beginning_of_a_larger_one_and_of_a_draw_of_it():
    large = draw_by_patient(COHORT, 90)
    assert ids(draw_by_patient(COHORT, 30)) == ids(large)[:30] == ids(draw_by_patient(large, 30))


def test_the_draw_never_changes():
    """Curves of two versions compare only on the same studies."""
    assert ids(draw_by_patient(COHORT, 5)) == PINNED


def test_another_seed_draws_others():
    assert set(ids(draw_by_patient(COHORT, 20, seed=1))) != set(ids(draw_by_patient(COHORT, 20)))


def test_studies_without_a_patient_are_patients_of_their_own():
    studies = [*(study(n) for n in range(6)), *(study(10 + n, "s0") for n in range(6))]
    assert sum(found.patient_id == "" for found in draw_by_patient(studies, 7)) == 6


def test_all_are_drawn_where_there_are_no_more():
    assert sorted(ids(draw_by_patient(COHORT, 10_000))) == sorted(ids(draw_by_patient(COHORT))) == sorted(ids(COHORT))
    assert draw_by_patient([], 3) == []
