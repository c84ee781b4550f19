"""Statistics against scipy and statsmodels, and their properties."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.multitest import multipletests

from harness.stats import average_ranks, holm, mean_intervals, paired_differences

VALUES = np.random.default_rng(0).normal(0.8, 0.1, (6, 7))


def test_means_and_intervals_agree_with_scipy():
    estimates = mean_intervals(VALUES)

    for row, values in enumerate(VALUES):
        interval = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
        assert estimates.mean[row] == pytest.approx(values.mean(), abs=1e-12)
        assert (estimates.low[row], estimates.high[row]) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_paired_differences_agree_with_scipy():
    estimates = paired_differences(VALUES, VALUES[2])

    for row in (0, 1, 3, 4, 5):
        expected = scipy.stats.ttest_rel(VALUES[row], VALUES[2])
        interval = expected.confidence_interval(0.95)
        assert estimates.p[row] == pytest.approx(expected.pvalue, abs=1e-9)
        assert (estimates.low[row], estimates.high[row]) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert (estimates.mean[2], estimates.p[2]) == (0.0, 1.0)


def test_missing_seeds_are_left_out_pair_by_pair():
    values = VALUES.copy()
    values[0, 3] = np.nan
    reference = VALUES[1].copy()
    reference[5] = np.nan

    estimates = paired_differences(values, reference)

    both = [0, 1, 2, 4, 6]
    assert estimates.n[0] == 5
    assert estimates.p[0] == pytest.approx(scipy.stats.ttest_rel(values[0, both], reference[both]).pvalue, abs=1e-9)


def test_one_seed_has_a_mean_and_no_interval():
    estimates = mean_intervals(np.array([[0.5, np.nan], [np.nan, np.nan]]))

    assert estimates.mean[0] == 0.5
    assert np.isnan([estimates.low[0], estimates.high[0], estimates.p[0], estimates.mean[1]]).all()


def test_a_constant_difference_is_certain_and_no_difference_is_none():
    estimates = paired_differences(np.array([[0.75, 1.25, 1.75], [0.5, 1.0, 1.5]]), np.array([0.5, 1.0, 1.5]))

    assert estimates.p.tolist() == [0.0, 1.0]


def test_holm_agrees_with_statsmodels():
    p = np.random.default_rng(1).random(20) ** 3

    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


def test_holm_leaves_out_what_does_not_exist():
    corrected = holm(np.array([0.01, np.nan, 0.04]))

    assert corrected[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(corrected[1])


@given(arrays(float, st.integers(1, 12), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])))
def test_ranks_agree_with_scipy(scores):
    assert average_ranks(scores) == pytest.approx(scipy.stats.rankdata(-scores))


@given(arrays(float, (4, 5), elements=st.floats(-1, 1)), st.permutations(range(4)))
def test_permuting_the_methods_permutes_the_estimates(values, order):
    before, after = mean_intervals(values), mean_intervals(values[list(order)])

    np.testing.assert_array_equal(before.mean[list(order)], after.mean)
    np.testing.assert_array_equal(before.p[list(order)], after.p)
