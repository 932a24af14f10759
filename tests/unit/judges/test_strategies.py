"""Cheap strategies: the reports that they stand for, and what their prices say about a reward and a policy."""

import pytest

from judges.base import Case
from judges.findings import FindingsF1, FindingsJudge
from judges.length import LengthControlled
from judges.price_list import PolicyRewards, PriceList, best_of_groups
from judges.strategies import (
    ANOTHER,
    COMMONEST,
    CONSTANT,
    EMPTY,
    FOUR,
    HALF,
    REFERENCE,
    REPEATED,
    TEMPLATE,
    WITHOUT,
    choose_constants,
    sentences,
    strategy_cases,
)

NORMAL = "the heart is normal in size. the lungs are clear. no pleural effusion or pneumothorax."
SHORT = "no acute fracture."
SICK = [
    "small left pleural effusion. the heart is enlarged. no pneumothorax.",
    "the heart is enlarged. no pleural effusion.",
    "there is mild pulmonary edema. the heart is enlarged.",
    "small left pleural effusion. right upper lobe consolidation. no pneumothorax.",
]
CORPUS = [NORMAL, *SICK, SHORT]


def cases(*references):
    return [Case(f"s{i}", "ignored", reference) for i, reference in enumerate(references)]


def texts(rows, name):
    return [case.candidate for case in rows[name]]


def test_the_rows_are_the_reports_that_their_names_say():
    rows = strategy_cases(cases(SICK[0], NORMAL, SICK[1]), choose_constants(CORPUS), ["p1", "p1", "p2"])
    assert texts(rows, EMPTY) == [""] * 3
    assert texts(rows, TEMPLATE) == [NORMAL] * 3  # the fuller of the two normal reports
    assert texts(rows, WITHOUT) == ["no pneumothorax.", NORMAL, "no pleural effusion."]
    assert texts(rows, ANOTHER) == [SICK[1], SICK[1], SICK[0]]  # the next one of another patient
    assert texts(rows, REPEATED)[1] == f"{NORMAL} {NORMAL}"
    assert texts(rows, REFERENCE) == [SICK[0], NORMAL, SICK[1]]
    assert len(set(texts(rows, CONSTANT))) == 1 and texts(rows, CONSTANT)[0] in CORPUS


def test_half_of_the_sentences_with_a_finding_go_over_all_studies():
    rows = strategy_cases(cases(SICK[0], SICK[1], SICK[2]), choose_constants(CORPUS))
    # effusion stays, heart goes; heart stays; edema goes, heart stays
    assert texts(rows, HALF) == [
        "small left pleural effusion. no pneumothorax.",
        "the heart is enlarged. no pleural effusion.",
        "the heart is enlarged.",
    ]


def test_calling_findings_for_everybody_takes_the_place_of_what_denies_them():
    rows = strategy_cases(cases(NORMAL), choose_constants(CORPUS))
    assert sentences(texts(rows, COMMONEST)[0]) == [
        "the heart is enlarged.",  # three of the training reports say so
        "the lungs are clear.",
        "no pleural effusion or pneumothorax.",
    ]
    [four] = texts(rows, FOUR)
    assert {"the heart is enlarged.", "small left pleural effusion."} < set(sentences(four))
    assert "no pleural effusion" not in four


def test_a_corpus_that_the_rules_cannot_read_gives_no_template_and_no_verdict():
    constants = choose_constants(["Kein Pleuraerguss.", "Herz normal gross."])
    rows = strategy_cases(cases("Kein Pleuraerguss.", "Herz vergroessert."), constants)
    assert rows.keys() == {EMPTY, ANOTHER, REPEATED, REFERENCE}
    [verdict] = PriceList({name: [0.5, 0.5] for name in rows}).verdicts()
    assert "another language" in verdict


def test_references_that_all_name_a_finding_are_read_and_only_the_template_is_lacking():
    rows = strategy_cases(cases(*SICK), choose_constants(SICK))
    [verdict] = PriceList({name: [0.5] * 4 for name in rows}).verdicts()
    assert "no training report calls everything normal" in verdict and "another language" not in verdict
    [verdict] = PriceList({TEMPLATE: [None], REFERENCE: [1.0]}).verdicts()
    assert "the normal template could not be scored" in verdict


def test_one_patient_alone_has_no_other_reference():
    assert ANOTHER not in strategy_cases(cases(NORMAL, SICK[0]), choose_constants(CORPUS), ["p1", "p1"])


def test_prices_under_green_show_what_calling_everything_normal_pays():
    rows = strategy_cases(cases(*SICK, NORMAL, NORMAL), choose_constants(CORPUS))

    def mean(judge, name):
        values = [score.value for score in judge.score(rows[name])]
        return sum(values) / len(values)

    green, f1 = LengthControlled(FindingsJudge(), "lc_green"), FindingsF1()
    assert mean(green, REFERENCE) == mean(f1, REFERENCE) == 1.0
    # f1 of a silent report: 1 / (1 + findings): two of each sick one but the second, which has one
    assert mean(f1, TEMPLATE) == pytest.approx((1 / 3 + 1 / 2 + 1 / 3 + 1 / 3 + 1 + 1) / 6)
    assert mean(f1, HALF) > mean(f1, TEMPLATE) > mean(f1, FOUR)
    assert mean(green, REPEATED) == pytest.approx(0.5)


def prices(mean, best, template=0.57, **others):
    rewards = {TEMPLATE: [template - 0.1, template + 0.1] * 32}
    rewards |= {name: [value] * 64 for name, value in others.items()}
    policy = PolicyRewards([mean - 0.1, mean + 0.1] * 32, [best] * 64, 8)
    return PriceList(rewards, policy)


@pytest.mark.parametrize(
    ("mean", "best", "words"),
    [
        (0.39, 0.50, "will most likely teach it to call everything normal"),
        (0.415, 0.75, "at risk"),
        (0.65, 0.80, "something better to find"),
    ],
)
def test_the_verdict_on_a_policy(mean, best, words):
    [verdict] = prices(mean, best).verdicts()
    assert f"calling everything normal pays 0.570; your policy earns {mean:.3f}" in verdict and words in verdict


def test_a_lead_within_two_standard_errors_is_none():
    rewards = {TEMPLATE: [0.5] * 64}
    policy = PolicyRewards([0.1, 0.92] * 32, [0.95] * 64, 8)  # mean .51, standard error .05
    assert "no clear lead" in PriceList(rewards, policy).verdicts()[0]


def test_a_reward_that_pays_over_calling_is_named():
    listed = PriceList({TEMPLATE: [0.4] * 64, FOUR: [0.5] * 64, COMMONEST: [0.3] * 64})
    [verdict] = listed.verdicts()
    assert "pays over-calling" in verdict and FOUR in verdict


def test_the_table_is_dearest_first_with_the_policy_among_them():
    table = prices(0.39, 0.6, empty=0.0).table().splitlines()
    assert table[0].startswith("what cheap strategies earn under this reward, 64 studies")
    assert [line.strip().rsplit("  ", 1)[0].strip() for line in table[1:]] == [
        "your policy, best of 8",
        TEMPLATE,
        "your policy",
        "empty",
    ]
    assert "0.390 ± 0.013" in table[3]  # deviation .1008 over sqrt(64)


def test_what_cannot_be_scored_is_left_out_and_never_zero():
    listed = PriceList({EMPTY: [None, None], REFERENCE: [1.0, None]})
    assert EMPTY not in listed.prices and listed.prices[REFERENCE].mean == 1.0
    policy = best_of_groups([[0.2, None, 0.6], [None, None, None]])
    assert policy.mean == [pytest.approx(0.4), None] and policy.best == [0.6, None] and policy.group_size == 3
