"""Alarms with the numbers of runs that collapsed and of runs that did not, and their silence on normal corpora.

A made-up evaluation has a number of studies with one finding each and a number of normal ones. What the runs below were
seen to do is set: the share of silent reports on studies with a finding, recall, and distinct reports.
"""

import json

import pytest

from online_rl.monitor.alarms import Alarms, image_rows, lower_end
from online_rl.truth.counts import Claims
from online_rl.truth.held_out import held_out
from online_rl.truth.image_check import ImageCheck
from online_rl.truth.results import Result

THERE, OTHER = frozenset({"effusion"}), frozenset({"edema"})


def evaluation(silent, recall, distinct, reward, sick=88, normal=40, largest=1, first=0):
    """Reports on `sick` studies: the first ones right, the next ones silent, the rest false.

    silent, recall  shares of the studies with a finding
    distinct        share of different reports among them
    largest         reports that are one and the same, beside those that `distinct` makes equal
    """
    right, none = round(recall * sick), round(silent * sick)
    assert right + none <= sick
    said = [THERE] * right + [frozenset()] * none + [OTHER] * (sick - right - none)
    claims = [Claims(s, THERE) for s in said] + [Claims(frozenset(), frozenset())] * normal
    kinds = max(1, round(distinct * sick))
    reports = [f"report {0 if i < largest else i % kinds}" for i in range(sick)] + ["normal"] * normal
    rows = zip(claims, reports, strict=True)
    return held_out([Result(f"s{i + first}", f"p{i}", reward, report, found) for i, (found, report) in enumerate(rows)])


def rung(*evaluations, images=None):
    alarms = Alarms()
    for i, now in enumerate(evaluations):
        alarms.check(now, images[i] if images else None)
    return set(alarms.on)


def test_the_run_that_collapsed_rings_within_two_evaluations():
    """Reward .385 to .579, silence on abnormal studies .55 to .91, recall .22 to .05, distinct .81 to .28."""
    start = evaluation(silent=0.55, recall=0.22, distinct=0.81, reward=0.385)
    middle = evaluation(silent=0.91, recall=0.05, distinct=0.28, reward=0.52, largest=40)
    assert rung(start) == set()
    assert rung(start, middle) == {"nothing_present", "recall", "same_report"}


@pytest.mark.parametrize(
    ("start", "after"),
    [
        # sees: reward .539 to .767, recall .58 to .57, distinct .70 to .63, silence .07
        ((0.07, 0.58, 0.70, 0.539), (0.07, 0.57, 0.63, 0.767)),
        # sees, but leaves out half: .415 to .709, recall .22 to .44, distinct .76 to .72, silence .61 to .20
        ((0.61, 0.22, 0.76, 0.415), (0.20, 0.44, 0.72, 0.709)),
    ],
)
def test_the_runs_that_got_better_are_silent(start, after):
    evaluations = [evaluation(*start), evaluation(*after)]
    assert rung(*evaluations) == set()


def test_a_corpus_of_nine_normal_references_in_ten_is_silent():
    """A policy that names half of the findings; most of its reports are the normal one, as they should be."""
    start = evaluation(silent=0.46, recall=0.46, distinct=0.8, reward=0.80, sick=51, normal=464)
    after = evaluation(silent=0.40, recall=0.54, distinct=0.75, reward=0.85, sick=51, normal=464)
    assert rung(start, after) == set()


def test_few_studies_with_a_finding_allow_no_verdict():
    start = evaluation(silent=0.5, recall=0.5, distinct=1.0, reward=0.8, sick=13, normal=115)
    after = evaluation(silent=1.0, recall=0.0, distinct=0.1, reward=0.9, sick=13, normal=115)
    alarms = Alarms()
    assert alarms.check(start) == alarms.check(after) == [] and alarms.metrics() == {}


def test_under_64_studies_nothing_rings():
    start = evaluation(silent=0.5, recall=0.5, distinct=1.0, reward=0.4, sick=40, normal=20)
    after = evaluation(silent=1.0, recall=0.0, distinct=0.1, reward=0.6, sick=40, normal=20)
    assert rung(start, after) == set()


def test_a_level_rings_when_its_interval_is_above_the_threshold():
    """Wilson by hand, p = .91, n = 88, z = 1.645: (.91 + .01538 - .05241) / 1.03075 = .847."""
    assert lower_end(0.91, 88) == pytest.approx(0.847, abs=1e-3)
    assert lower_end(1.0, 6) == pytest.approx(6 / (6 + 1.645**2))
    assert rung(evaluation(silent=0.84, recall=0.1, distinct=0.8, reward=0.4)) == set()
    assert rung(evaluation(silent=0.91, recall=0.05, distinct=0.8, reward=0.4)) == {"nothing_present"}


def test_a_lost_recall_rings_only_while_the_reward_rises():
    start = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.5)
    worse = evaluation(silent=0.3, recall=0.2, distinct=0.8, reward=0.4)
    paid = evaluation(silent=0.3, recall=0.2, distinct=0.8, reward=0.6)
    assert rung(start, worse) == set()
    assert rung(start, paid) == {"recall"}


def test_a_small_loss_of_recall_may_be_noise():
    """Of 3 findings in 88 that were named, one is: .6 of the start's, and within two standard errors."""
    start = evaluation(silent=0.5, recall=3 / 88, distinct=0.8, reward=0.5)
    assert rung(start, evaluation(silent=0.5, recall=1 / 88, distinct=0.8, reward=0.6)) == set()


def test_one_report_for_many_studies_rings():
    assert rung(evaluation(silent=0.3, recall=0.3, distinct=0.9, reward=0.5, largest=50)) == {"same_report"}


def test_an_alarm_stays_on_and_is_said_once():
    start = evaluation(silent=0.5, recall=0.4, distinct=0.8, reward=0.5)
    bad = evaluation(silent=0.95, recall=0.05, distinct=0.8, reward=0.6)
    alarms = Alarms()
    alarms.check(start)
    first = alarms.check(bad)
    assert [line.split(":")[0] for line in first] == ["nothing_present", "recall"]
    assert "call nothing present" in first[0] and "findings_f1" in first[0]
    assert alarms.check(bad) == alarms.check(start) == []
    assert alarms.metrics() == {"alarms/nothing_present": 1.0, "alarms/recall": 1.0, "alarms/same_report": 0.0}


def test_a_resumed_run_still_knows_the_start():
    start = evaluation(silent=0.5, recall=0.4, distinct=0.8, reward=0.5)
    alarms, resumed = Alarms(), Alarms()
    alarms.check(start)
    resumed.load_state_dict(json.loads(json.dumps(alarms.state_dict())))
    bad = evaluation(silent=0.5, recall=0.1, distinct=0.8, reward=0.6)
    assert resumed.check(bad) == alarms.check(bad) and "recall" in resumed.on


def test_what_an_evaluation_wrote_down_stays_on_if_the_checkpoint_is_older():
    alarms = Alarms()
    alarms.remember(20, {"alarms/recall": 1.0, "alarms/same_report": 0.0, "reward": 0.5})
    assert alarms.metrics() == {"alarms/recall": 1.0} and "step 20" in alarms.on["recall"]


def test_other_studies_are_never_compared():
    start = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.5)
    other = evaluation(silent=0.3, recall=0.1, distinct=0.2, reward=0.6, first=1000)
    assert rung(start, other) == set()


def images(right, wrong, count=128, nats=None):
    """An image check: `right` of the studies are right with their own image, `wrong` with another's, and the right
    image makes the 5 finding tokens of every second reference likelier by `nats` each, give or take a tenth."""
    rows = []
    for i in range(count):
        own, swapped = i < right * count, i < wrong * count
        rows.append([own, 0, not own, *[swapped, 0, not swapped] * 2])
    logps = []
    for i in range(count) if nats is not None else ():
        logps.append([5.0, -5.0, *[-5.0 - 5 * (nats + 0.1 * (i % 3 - 1))] * 2] if i % 2 else [0.0] * 4)
    return image_rows(ImageCheck(rows, [], [f"p{i}" for i in range(count)], 0, logps))


def test_the_image_counting_less_rings_while_the_reward_rises():
    start = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.5)
    after = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.6)
    paler = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.4)
    looks, blind = images(0.6, 0.2), images(0.4, 0.35)
    assert rung(start, after, images=[looks, blind]) == {"image"}
    assert rung(start, paler, images=[looks, blind]) == set()
    assert rung(start, after, images=[looks, looks]) == set()


def test_seeing_less_in_the_image_rings_although_the_reports_do_not_show_it_yet():
    start = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.5)
    after = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.6)
    paler = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.4)
    sees, less, hardly = (images(0.6, 0.2, nats=nats) for nats in (0.9, 0.7, 0.5))
    assert rung(start, after, images=[sees, hardly]) == {"image"}
    assert rung(start, paler, images=[sees, hardly]) == set()
    assert rung(start, after, images=[sees, less]) == set(), "a fall, but not to 0.6 of the start's"
    assert rung(start, after, images=[sees, images(0.6, 0.2)]) == set(), "the references were not read again"


def test_a_checkpoint_without_log_probabilities_is_continued():
    start = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.5)
    after = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.6)
    alarms, resumed = Alarms(), Alarms()
    alarms.check(start, images(0.6, 0.2))
    state = json.loads(json.dumps(alarms.state_dict()))
    state["alarms"]["start_images"] = state["alarms"]["start_images"][:2]  # as versions before wrote them
    resumed.load_state_dict(state)
    assert resumed.check(after, images(0.6, 0.2, nats=0.1)) == []
    assert resumed.check(after, images(0.4, 0.35, nats=0.1)) != [] and "image" in resumed.on


def test_a_checkpoint_names_no_patient_and_an_older_one_that_did_is_continued():
    start = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.5)
    after = evaluation(silent=0.3, recall=0.5, distinct=0.8, reward=0.6)
    alarms, resumed = Alarms(), Alarms()
    alarms.check(start, images(0.6, 0.2))
    written = json.dumps(alarms.state_dict())
    assert '"p1' not in written
    state = json.loads(written)
    counts, patients, logps = state["alarms"]["start_images"]
    state["alarms"]["start_images"] = [counts, [f"p{number}" for number in patients], logps]  # as versions before
    resumed.load_state_dict(state)
    assert json.dumps(resumed.state_dict()) == written
    assert resumed.check(after, images(0.4, 0.35)) != [] and "image" in resumed.on


def test_in_another_language_only_a_change_in_diversity_rings():
    def foreign(kinds, reward):
        return held_out([Result(f"s{i}", f"p{i}", reward, f"Befund {i % kinds}", None) for i in range(128)])

    assert rung(foreign(2, 0.5)) == set()
    assert rung(foreign(100, 0.5), foreign(20, 0.6)) == {"same_report"}
