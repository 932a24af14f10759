"""The columns of an evaluation."""

from online_rl.data.study import Study
from online_rl.truth.held_out import held_out
from online_rl.truth.results import result_of


def test_a_study_without_a_patient_is_of_a_patient_of_its_own():
    patients = ["a", "", "", "a", "b"]
    studies = [Study(f"s{i}", patient, (), "", "Edema.") for i, patient in enumerate(patients)]
    assert held_out([result_of(study, "Edema.", 1.0) for study in studies]).patients == [0, 1, 2, 0, 3]
