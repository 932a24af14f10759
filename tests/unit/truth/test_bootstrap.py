"""Intervals of pooled counts: exact where it can be worked out, paired, and by patient."""

import numpy as np
import pytest

from online_rl.truth import bootstrap


def test_a_figure_is_that_of_the_sums():
    rows = [[1, 0, 0], [1, 1, 0], [0, 0, 2]]
    assert bootstrap.estimate(bootstrap.f1, rows, [1, 2, 3]).value == 2 * 2 / (2 * 2 + 1 + 2)
    assert bootstrap.estimate(bootstrap.precision, rows, [1, 2, 3]).value == 2 / 3
    assert bootstrap.estimate(bootstrap.recall, rows, [1, 2, 3]).value == 2 / 4


def test_the_error_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap.mean(list(values), list(range(400)))
    assert found.error == pytest.approx(values.std() / 20, rel=0.06)  # 2,000 draws know it within 1.6 %
    assert found.low == pytest.approx(found.value - 1.96 * found.error, abs=0.01)
    assert found.z == found.value / found.error


def test_studies_of_one_patient_are_drawn_together():
    """Four equal studies per patient are one observation: the error is that of a quarter of the studies."""
    values = np.random.default_rng(1).normal(size=100)
    alone = bootstrap.mean(list(values), list(range(100)))
    together = bootstrap.mean(list(np.repeat(values, 4)), list(np.repeat(np.arange(100), 4)))
    assert together.error == pytest.approx(alone.error, rel=1e-9)


def test_a_difference_is_paired():
    rng = np.random.default_rng(2)
    theirs = rng.integers(0, 3, size=(200, 3)).astype(float)
    assert bootstrap.difference(bootstrap.f1, theirs, theirs, range(200)).error == 0.0
    ours = theirs.copy()
    ours[:20, 0] += 1
    paired = bootstrap.difference(bootstrap.f1, ours, theirs, range(200))
    alone = bootstrap.estimate(bootstrap.f1, ours, range(200))
    assert 0 < paired.error < alone.error / 2
    assert paired.low > 0


def test_a_missing_value_is_left_out():
    assert bootstrap.mean([1.0, None, 3.0, float("nan")], [1, 2, 3, 4]).value == 2.0
    assert bootstrap.mean([None, None], [1, 2]) is None


def test_an_undefined_figure_is_none_and_one_patient_has_no_interval():
    assert bootstrap.estimate(bootstrap.precision, [[0, 0, 1], [0, 0, 2]], [1, 2]) is None
    assert bootstrap.estimate(bootstrap.f1, [], []) is None
    lonely = bootstrap.estimate(bootstrap.f1, [[1, 0, 0], [1, 1, 0]], [1, 1])
    assert lonely.value == 0.8 and lonely.low is None and lonely.z == 0.0


def test_the_same_rows_give_the_same_interval():
    rows = np.random.default_rng(3).integers(0, 3, size=(50, 3))
    assert bootstrap.estimate(bootstrap.f1, rows, range(50)) == bootstrap.estimate(bootstrap.f1, rows, range(50))
