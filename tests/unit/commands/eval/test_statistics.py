"""Intervals and win rates against sums by hand and against what the theory says of a normal sample."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import numpy as np
import pytest

from online_rl.commands.eval.statistics import difference, estimate, win_rate


def alone(n: int) -> list[int]:
    """Every study is a patient."""
    return list(range(n))


def test_the_mean_leaves_out_what_has_no_value():
    found = estimate([1.0, None, 0.0, 0.5], alone(4))
    assert found is not None and (found.mean, found.n) == (0.5, 3)  # (1 + 0 + 0.5) / 3, and not / 4 = 0.375
    assert estimate([None, None], alone(2)) is None


def test_the_interval_of_a_normal_sample_is_the_textbooks():
    draw = random.Random(1)
    values = [draw.gauss(3.0, 2.0) for _ in range(400)]
    found = estimate(values, alone(400))
    error = statistics.stdev(values) / math.sqrt(400)
    assert found is not None
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.1 * error)


def test_the_interval_of_five_numbers_lies_where_all_their_resamples_say():
    """BCa done by hand over all 5^5 = 3125 resamples (Efron and Tibshirani 1993, section 14.3)."""
    from scipy.stats import norm

    values = [0.0, 0.1, 0.3, 0.4, 1.0]
    mean = statistics.fmean(values)
    every = np.sort([statistics.fmean(sample) for sample in itertools.product(values, repeat=5)])
    z0 = norm.ppf((np.mean(every < mean - 1e-12) + np.mean(every < mean + 1e-12)) / 2)
    left_out = [(sum(values) - v) / 4 for v in values]
    gaps = np.mean(left_out) - np.array(left_out)
    a = (gaps**3).sum() / (6 * (gaps**2).sum() ** 1.5)
    ends = [np.quantile(every, norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))) for z in norm.ppf([0.025, 0.975])]
    found = estimate(values, alone(5))
    assert found is not None and [found.low, found.high] == pytest.approx(ends, abs=0.04)
    assert found.high - mean > mean - found.low  # the sample leans to the right, and so does its interval


def test_ten_studies_of_one_patient_say_no_more_than_one():
    draw = random.Random(2)
    values = [draw.gauss(0.0, 1.0) for _ in range(60)]
    patients = alone(60)
    once, often = estimate(values, patients), estimate(values * 10, patients * 10)
    as_if_alone = estimate(values * 10, alone(600))
    assert once is not None and often is not None and as_if_alone is not None
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    assert as_if_alone.high - as_if_alone.low < 0.4 * (often.high - often.low)  # 1 / sqrt(10) = 0.32


def test_a_patient_with_more_studies_counts_by_each():
    found = estimate([1.0, 1.0, 1.0, 0.0], [7, 7, 7, 3])
    assert found is not None and found.mean == 0.75  # not (1 + 0) / 2


def test_no_interval_where_there_is_nothing_to_resample():
    for values, patients in (([0.0, 0.0, 0.0], alone(3)), ([0.2, 0.9], [4, 4]), ([0.5], [0])):
        found = estimate(values, patients)
        assert found is not None and (found.low, found.high) == (None, None)


def test_the_same_rows_give_the_same_interval():
    values = [random.Random(3).random() for _ in range(50)]
    assert estimate(values, alone(50)) == estimate(values, alone(50))


def test_differences_are_paired_by_study():
    """Two policies far apart in every study by 0.1, whose own means scatter widely: the pairing sees 0.1 exactly."""
    draw = random.Random(4)
    theirs = [draw.random() for _ in range(80)]
    ours = [value + 0.1 + draw.gauss(0, 0.01) for value in theirs]
    found = difference(ours, theirs, alone(80))
    assert found is not None and found.mean == pytest.approx(0.1, abs=0.005)
    assert found.low > 0.09 and found.high < 0.11
    own = estimate(ours, alone(80))
    assert own is not None and own.high - own.low > 0.1


def test_a_difference_needs_both():
    found = difference([1.0, None, 0.5], [0.5, 0.1, None], alone(3))
    assert found is not None and (found.mean, found.n) == (0.5, 1)


def test_wins_ties_and_losses():
    ours, theirs = [0.9, 0.5, 0.2, 0.7, None], [0.1, 0.5 + 1e-12, 0.3, 0.6, 0.0]
    found = win_rate(ours, theirs, alone(5))
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    assert found.rate is not None and found.rate.mean == 0.625  # (2 + 0.5) / 4
    errors = win_rate(ours, theirs, alone(5), greater_is_better=False)
    assert (errors.wins, errors.losses) == (1, 2)
    nothing = win_rate([None], [1.0], [0])
    assert nothing.rate is None and nothing.wins == 0
