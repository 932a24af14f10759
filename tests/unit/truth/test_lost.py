"""A finding that is given up is named, whatever the others do; one that chance alone moved is not."""

import random

import pytest

from online_rl.monitor.alarms import Alarms
from online_rl.truth.counts import Claims
from online_rl.truth.held_out import HeldOut, held_out
from online_rl.truth.lost import lost_findings, told
from online_rl.truth.results import Result

FINDINGS = ("effusion", "edema", "tube", "pacemaker")


def claims(named, studies=120, seed=0):
    """Each finding is in a third of the studies, and named there with the probability `named`, elsewhere in 1 of 50."""
    rng, made = random.Random(seed), []
    for i in range(studies):
        true = frozenset(f for k, f in enumerate(FINDINGS) if (i + k) % 3 == 0)
        said = frozenset(f for f in FINDINGS if rng.random() < (named[f] if f in true else 0.02))
        made.append(Claims(said, true))
    return made


EVEN = dict.fromkeys(FINDINGS, 0.5)


def test_the_one_that_is_given_up_is_named_though_the_pooled_f1_rises():
    start, now = claims(EVEN), claims(dict.fromkeys(FINDINGS, 0.95) | {"tube": 0.1}, seed=1)
    [lost] = lost_findings(start, now, range(120))
    assert lost.finding == "tube" and lost.positives == 40 and lost.is_now < 0.3 < lost.was
    assert told([lost]).startswith("reports got worse on 1 finding since the start")
    assert f"tube {lost.was:.2f} to {lost.is_now:.2f} (40 studies)" in told([lost])


def test_chance_is_not_called_a_loss():
    named = [lost_findings(claims(EVEN, seed=2 * s), claims(EVEN, seed=2 * s + 1), range(120)) for s in range(40)]
    assert sum(bool(lost) for lost in named) <= 4  # 5 % of 40 is 2


def test_more_false_claims_are_a_loss_as_well():
    true = [
        Claims(frozenset(["edema"]) if i % 2 else frozenset(), frozenset(["edema"] if i % 2 else [])) for i in range(80)
    ]
    always = [Claims(frozenset(["edema"]), c.true) for c in true]
    [lost] = lost_findings(true, always, range(80))
    assert (lost.was, lost.is_now) == (1.0, pytest.approx(2 / 3))


def test_few_positives_few_patients_and_gains_say_nothing():
    start, worse = claims(dict.fromkeys(FINDINGS, 1.0)), claims(dict.fromkeys(FINDINGS, 0.0))
    assert lost_findings(start[:60], worse[:60], range(60)) == []  # 20 positives each
    assert len(lost_findings(start, worse, range(120))) == 4
    assert lost_findings(start, worse, [7] * 120) == []  # one patient: chance cannot be told
    assert lost_findings(worse, start, range(120)) == []


def evaluation(found, labelled=None):
    labelled = labelled or [None] * len(found)
    rows = zip(found, labelled, strict=True)
    return held_out([Result(f"s{i}", f"p{i}", 0.5, f"r{i}", f, g) for i, (f, g) in enumerate(rows)])


def test_drawn_labels_decide_where_there_are_any():
    all_named, none_named = claims(dict.fromkeys(FINDINGS, 1.0)), claims(dict.fromkeys(FINDINGS, 0.0))
    alarms = Alarms()
    alarms.check(evaluation(all_named, all_named))
    assert alarms.lost(evaluation(none_named, all_named)) == []
    assert len(alarms.lost(evaluation(all_named, none_named))) == 4


def test_the_first_evaluation_is_compared_with_nothing_and_survives_a_checkpoint():
    start, now = evaluation(claims(dict.fromkeys(FINDINGS, 1.0))), evaluation(claims(dict.fromkeys(FINDINGS, 0.0)))
    alarms, resumed = Alarms(), Alarms()
    assert alarms.lost(start) is None
    alarms.check(start)
    assert alarms.lost(start) is None
    resumed.load_state_dict(alarms.state_dict())
    assert resumed.lost(now) == alarms.lost(now) != []


def test_a_checkpoint_that_kept_no_claims_compares_nothing():
    start = evaluation(claims(EVEN))
    old = start.state_dict()
    del old["claims"]
    alarms = Alarms()
    alarms.load_state_dict({"alarms": {"start": old}})
    assert alarms.lost(evaluation(claims(EVEN, seed=3))) is None
    assert HeldOut.from_state(old).claims == []
