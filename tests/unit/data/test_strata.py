"""The formula of stratified sampling by hand, its floor and ceiling, and what is said of it."""

from __future__ import annotations

import pytest

from online_rl.data.strata import Drawn, draw_shares, in_words, prevalence, read_strata, times_per_epoch
from online_rl.errors import DataError


def strata(*names: str) -> list[frozenset[str]]:
    return [frozenset(words.split()) for words in names]


def test_strata_are_the_findings_that_the_rules_read_as_present(make_study):
    references = (
        "The lungs are clear. No pleural effusion.",
        "Small left pleural effusion. No pneumothorax.",
        "Small right pleural effusion. Moderate cardiomegaly.",
        "Es liegt kein Befund vor.",
    )
    found = read_strata([make_study(f"s{i}", reference) for i, reference in enumerate(references)])
    assert found == strata("normal", "effusion", "effusion cardiomegaly", "")


def test_references_in_another_language_are_refused(make_study):
    with pytest.raises(DataError) as caught:
        read_strata([make_study(f"s{i}", "Ohne Befund.") for i in range(3)])
    assert str(caught.value) == (
        "data.sampling=stratified: found no reference of 3 in which the rules read a finding or its absence, expected "
        "reports in English. Set data.sampling=shuffled."
    )


def test_shares_of_one_stratum_each_by_hand():
    # N = 4, K = 2, e = .5: normal .5/4 + .5/(2 x 3) = .125 + .08333; effusion .125 + .5/2. They sum to 1.
    q = draw_shares(strata("normal", "normal", "normal", "effusion"))
    assert q == pytest.approx([0.208333, 0.208333, 0.208333, 0.375], abs=1e-6)


def test_shares_of_several_strata_and_of_none_by_hand():
    # N = 5, K = 3 of 2, 2 and 1 studies, e = .5, so .1 each, and
    #   normal and effusion      .5 / (3 x 2)                         = .083333
    #   effusion and edema       .5 x mean(1 / (3 x 2), 1 / (3 x 1))  = .125
    #   not understood           .5 / 5                               = .1
    # together 3 x .183333 + .225 + .2 = .975, by which all are divided.
    q = draw_shares(strata("normal", "normal", "effusion", "effusion edema", ""))
    assert q == pytest.approx([0.188034, 0.188034, 0.188034, 0.230769, 0.205128], abs=1e-6)
    assert sum(q) == pytest.approx(1)


def test_nothing_is_evened_out_with_e_0_and_every_stratum_is_drawn_alike_with_e_1():
    findings = strata("normal", "normal", "normal", "effusion")
    assert draw_shares(findings, even=0.0) == [0.25] * 4
    assert draw_shares(findings, even=1.0) == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


def test_normal_studies_keep_a_quarter_of_the_draws():
    findings = strata("normal", *"abcdefg")  # of eight strata with a study each, normal would have an eighth
    assert draw_shares(findings) == pytest.approx([0.25, *[0.75 / 7] * 7])
    without = strata(*"abcd")
    assert draw_shares(without) == [0.25] * 4, "no normal study, no floor"


def test_a_rare_finding_is_not_learned_by_heart():
    # The formula would give the one study with a nodule .5 / 1000 + .5 / 2 of the draws, 250 of every 1000.
    times = times_per_epoch(strata(*["normal"] * 999, "nodule"))
    assert times[-1] == 10
    assert times[0] == pytest.approx(0.5 + 250 / 999)


def test_both_prevalences_are_told():
    findings = strata("normal", "normal", "normal", "effusion", "")
    # N = 5, K = 2: normal .1 + .5/6 = .183333 three times, effusion .1 + .25 = .35, the fifth .2; together 1.1.
    assert prevalence(findings, times_per_epoch(findings)) == pytest.approx({"normal": 0.5, "effusion": 0.318182})
    assert in_words(findings, times_per_epoch(findings)) == (
        "data.sampling=stratified, share of the training studies -> share of the draws: normal 60.0% -> 50.0%, "
        "effusion 20.0% -> 31.8%; 1 references that the rules do not understand are drawn as in the data"
    )


def test_metrics_are_the_share_in_the_data_and_among_all_draws_so_far():
    findings = strata("normal", "normal", "effusion edema", "effusion")
    drawn = Drawn(findings)
    assert drawn.metrics() == {}, "nothing drawn, nothing to say"
    drawn.count([0, 2])
    drawn.count([2, 3])
    metrics = drawn.metrics()
    assert {name: metrics[f"strata/data/{name}"] for name in ("normal", "effusion", "edema")} == {
        "normal": 0.5,
        "effusion": 0.5,
        "edema": 0.25,
    }
    assert {name: metrics[f"strata/drawn/{name}"] for name in ("normal", "effusion", "edema")} == {
        "normal": 0.25,
        "effusion": 0.75,
        "edema": 0.5,
    }
