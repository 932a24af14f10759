"""The start's two habits: they compare with priors, and leave out half of what they see. References stay whole."""

from dataclasses import replace

from online_rl.demo.habit import with_comparison, with_omissions
from online_rl.demo.make_policy import study_of
from online_rl.demo.reader import read_report
from online_rl.demo.world import plan_patients

STUDIES = [study_of(plan.row) for plan in plan_patients(1200, seed=2)]


def test_most_reports_gain_one_comparison_and_nothing_else():
    changed = [with_comparison(study) for study in STUDIES]
    compared = [new for new, old in zip(changed, STUDIES, strict=True) if new != old]
    assert 0.81 < len(compared) / len(STUDIES) < 0.89
    assert all(read_report(study.reference).comparisons == 1 for study in compared)
    assert all(new.reference.startswith(old.reference) for new, old in zip(changed, STUDIES, strict=True))


def test_half_of_the_findings_are_left_out_and_no_normal_statement():
    stated = kept = 0
    for study in STUDIES:
        before, after = read_report(study.reference), read_report(with_omissions(study).reference)
        assert after.present <= before.present and after.unknown == ()
        assert before.sentences - after.sentences == len(before.present) - len(after.present)
        stated, kept = stated + len(before.present), kept + len(after.present)
    assert 0.46 < kept / stated < 0.54


def test_a_report_that_compares_already_is_left_alone(make_study):
    study = replace(make_study(), reference="The effusion has decreased.")
    assert with_comparison(study) == study


def test_a_report_of_one_omitted_sentence_is_left_whole(make_study):
    reports = [replace(make_study(), study_id=f"s{n}", reference="Mild cardiomegaly.") for n in range(20)]
    assert [with_omissions(study) for study in reports] == reports


def test_the_same_study_has_the_same_habits():
    assert [with_comparison(with_omissions(study)) for study in STUDIES[:50]] == [
        with_comparison(with_omissions(study)) for study in STUDIES[:50]
    ]
