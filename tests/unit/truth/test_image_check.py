"""The exchange of images: who gets whose, and what the gain says of a policy that looks and of one that does not."""

from dataclasses import replace

import pytest

from online_rl.data.study import Study
from online_rl.truth.image_check import DERANGEMENTS, Likelihood, check_images, derangements, with_images_of
from online_rl.truth.results import result_of

SICK = "There is a pleural effusion."
NORMAL = "No pleural effusion."


def study(number, patient=None, images=1, reference=SICK):
    own = tuple(f"{number}-{i}.png" for i in range(images))
    return Study(f"s{number}", f"p{number if patient is None else patient}", own, "cough", reference)


@pytest.mark.parametrize(
    "studies",
    [
        [study(i) for i in range(10)],
        [study(i, patient=i // 3) for i in range(20)],
        [study(i, patient=min(i, 5), images=1 + i % 2) for i in range(40)],
        [study(0), study(1)],
        [replace(study(i), patient_id="") for i in range(10)],
    ],
)
def test_everybody_gets_the_images_of_another_patient_and_as_many(studies):
    exchanges = derangements(studies)
    assert len(exchanges) == DERANGEMENTS
    for givers in exchanges:
        pairs = [(i, giver) for i, giver in enumerate(givers) if giver is not None]
        assert sorted(i for i, _ in pairs) == sorted(giver for _, giver in pairs)  # everyone who takes gives once
        for i, giver in pairs:
            assert studies[i].patient != studies[giver].patient
            assert len(studies[i].images) == len(studies[giver].images)


def test_studies_without_a_patient_are_each_of_one_of_their_own():
    exchanges = derangements([replace(study(i), patient_id="") for i in range(10)])
    assert all(giver is not None for givers in exchanges for giver in givers)


def test_the_exchange_is_the_same_at_every_evaluation_and_two_differ():
    studies = [study(i, patient=i // 2) for i in range(60)]
    first, second = derangements(studies)
    assert [first, second] == derangements(studies)
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 10
    assert first != derangements(studies, seed=1)[0]


@pytest.mark.parametrize(
    ("studies", "left_out"),
    [
        ([study(0), study(1), study(2, images=2)], [2]),  # nobody else has two images
        ([study(0), study(1, images=0)], [0, 1]),
        ([study(0, patient=9), study(1, patient=9)], [0, 1]),  # one patient alone
        ([study(0, patient=9), study(1, patient=9), study(2, patient=9), study(3)], [1, 2]),  # over half of one
    ],
)
def test_who_has_no_partner_is_left_out(studies, left_out):
    for givers in derangements(studies):
        assert [i for i, giver in enumerate(givers) if giver is None] == left_out


def test_a_study_with_other_images_has_an_id_of_its_own():
    swapped = with_images_of(study(1), study(2))
    assert swapped.images == study(2).images and swapped.reference == study(1).reference
    assert swapped.study_id not in ("s1", "s2")


def corpus(count):
    return [study(i, reference=SICK if i % 2 else NORMAL) for i in range(count)]


def write(looks):
    """A policy that reads the finding off the file name, or always says the same; the reward is 1 if it is right."""

    def written(studies):
        reports = [SICK if not looks or int(s.images[0].split("-")[0]) % 2 else NORMAL for s in studies]
        pairs = zip(studies, reports, strict=True)
        return {s.study_id: result_of(s, report, float(report == s.reference)) for s, report in pairs}

    return written


def check(studies, looks):
    return check_images(studies, write(looks)(studies), write(looks))


def test_a_policy_that_looks_gains_from_the_right_image():
    studies = corpus(120)
    found = check(studies, looks=True)
    assert found.left_out == 0 and found.studies == 120
    assert found.f1_right.value == 1.0
    agree = [  # whose new image shows what the own one shows
        sum((i - giver) % 2 == 0 for i, giver in enumerate(givers)) / 120 for givers in derangements(studies)
    ]
    assert found.gain_reward.value == pytest.approx(1 - sum(agree) / 2)
    assert 0.3 < found.gain_f1.low < found.gain_f1.value < found.gain_f1.high < 0.7
    assert found.verdict().startswith("the reports follow the image: F1 1.000 with the right image")
    assert found.metrics()["image/gain_f1"] == found.gain_f1.value


def test_a_policy_that_does_not_look_gains_nothing():
    found = check(corpus(120), looks=False)
    assert found.gain_f1.value == 0.0 and found.gain_reward.value == 0.0
    assert found.verdict().startswith("no sign that the reports follow the image")


def test_under_64_studies_there_is_no_verdict():
    assert "62 studies, expected at least 64" in check(corpus(62), looks=True).verdict()


def test_a_report_without_a_reward_is_left_out_of_the_rewards_gain_alone():
    studies = corpus(80)
    right = write(False)(studies)
    right["s0"] = result_of(studies[0], SICK, None)
    found = check_images(studies, right, write(False))
    assert found.gain_reward.value == 0.0 and found.studies == 80


def test_a_study_without_a_report_takes_no_part():
    studies = corpus(80)
    right = write(True)(studies)
    del right["s7"]
    found = check_images(studies, right, write(True))
    assert found.studies == 79 and found.left_out == 1


def test_without_a_partner_nothing_is_written_and_nothing_said():
    studies = [study(0, patient=1), study(1, patient=1)]
    found = check_images(studies, write(True)(studies), lambda given: pytest.fail("nothing to write"))
    assert found.metrics() == {"image/left_out": 2.0}
    assert "0 studies (2 left out" in found.verdict()


def read(logp, tokens=4):
    """A policy that gives `logp(study)` to the finding tokens of the abnormal references."""
    return lambda studies: {s.study_id: Likelihood(tokens, logp(s)) for s in studies if s.reference == SICK}


def test_the_gain_in_log_probability_is_per_finding_token_and_over_both_exchanges():
    studies = corpus(120)
    fits = read(lambda s: -2.0 if int(s.images[0].split("-")[0]) % 2 else -6.0)
    found = check_images(studies, write(True)(studies), write(True), fits)
    other = [sum((i - giver) % 2 for i, giver in enumerate(givers) if i % 2) / 60 for givers in derangements(studies)]
    assert found.gain_logp.value == pytest.approx(sum(other) / 2)  # 4 nats of 4 tokens where the other image is normal
    assert found.metrics()["image/gain_logp"] == found.gain_logp.value
    assert found.gain_logp.low > 0


def test_a_policy_whose_reports_are_all_normal_is_seen_to_see():
    studies = corpus(120)
    fits = read(lambda s: -2.0 if int(s.images[0].split("-")[0]) % 2 else -6.0)
    verdict = check_images(studies, write(False)(studies), write(False), fits).verdict()
    assert (
        verdict.startswith("no sign that the reports follow the image") and "sees more than its reports say" in verdict
    )
    blind = check_images(studies, write(False)(studies), write(False), read(lambda s: -3.0)).verdict()
    assert "sees more" not in blind and "Check that images reach the policy" in blind


def test_a_study_that_was_not_read_with_every_image_counts_for_nothing():
    studies = corpus(80)
    lost = with_images_of(studies[1], studies[derangements(studies)[0][1]]).study_id

    def reads(given):
        found = read(lambda s: -1.0 if " with images of " in s.study_id else -2.0)(given)
        if lost in found:
            found[lost] = Likelihood(1, -50.0)  # the report was cut: fewer tokens
        return found

    found = check_images(studies, write(True)(studies), write(True), reads)
    assert found.gain_logp.value == pytest.approx(-0.25)


@pytest.mark.parametrize("reads", [None, lambda studies: {}])
def test_without_finding_tokens_the_gain_in_log_probability_is_absent(reads):
    studies = corpus(80)
    found = check_images(studies, write(True)(studies), write(True), reads)
    assert found.gain_logp is None and "image/gain_logp" not in found.metrics()
