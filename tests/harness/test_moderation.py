"""Moderated variances against limma's, and what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats

from harness.moderation import NOTHING, Prior, against, fit_priors, moderated_p, one_sided_p, trigamma_inverse
from harness.stats import Estimates, mean_intervals, pair_differences, paired_differences

VARIANCES = np.array([0.8, 1.9, 0.3, 1.1, 4.2, 0.6, 0.05, 2.2])


def estimates_of(variances, df):
    nothing = np.zeros(len(variances))

    return Estimates(nothing, nothing, nothing, np.asarray(df) + 1, nothing, np.sqrt(variances))


# By `squeezeVar` of inmoose 0.9.1, a port of limma: degrees of freedom, then the prior's and its variance.
LIMMA = [
    (np.full(8, 2), 8.583011289165134, 1.2331656570557565),
    (np.full(8, 4), 2.4069590656144584, 0.6401107283057239),
    (np.full(8, 9), 1.9888301505810744, 0.490537196146956),
    (np.array([2, 2, 4, 4, 4, 9, 9, 9]), 2.2764430249622896, 0.6328722425584716),
]


@pytest.mark.parametrize(("own", "df", "variance"), LIMMA, ids=["2", "4", "9", "mixed"])
def test_the_prior_is_that_of_limma(own, df, variance):
    (prior,) = fit_priors([estimates_of(VARIANCES, own)])

    assert (prior.df, prior.variance) == pytest.approx((df, variance), rel=1e-9)


def test_a_moderated_test_is_limmas_where_the_prior_counts_for_less_than_the_seeds():
    values = np.random.default_rng(0).normal(0.3, 1, (8, 5)) * np.sqrt(VARIANCES)[:, None]
    differences = mean_intervals(values)
    (prior,) = fit_priors([differences])
    assert 0 < prior.df < 4

    p = moderated_p(differences, prior)

    posterior = (prior.df * prior.variance + 4 * values.var(axis=1, ddof=1)) / (prior.df + 4)  # Smyth 2004, equation 3
    t = values.mean(axis=1) / np.sqrt(posterior / 5)
    np.testing.assert_allclose(p, 2 * scipy.stats.t.sf(np.abs(t), prior.df + 4), rtol=1e-9)
    np.testing.assert_allclose(one_sided_p(differences, prior), scipy.stats.t.sf(t, prior.df + 4), rtol=1e-9)


def test_a_prior_counts_for_no_more_than_the_seeds():
    differences = mean_intervals(np.random.default_rng(1).normal(1, 1, (4, 5)))

    sure, as_much = (moderated_p(differences, Prior(df, 1.0)) for df in (math.inf, 4.0))

    np.testing.assert_array_equal(sure, as_much)


def test_without_a_prior_it_is_students_test():
    differences = mean_intervals(np.random.default_rng(2).normal(1, 1, (4, 5)))

    np.testing.assert_allclose(moderated_p(differences, NOTHING), differences.p, rtol=1e-12)


def test_what_does_not_scatter_has_no_p_and_no_part_in_the_prior():
    values = np.array([[0.1, 0.2, 0.4], [0.3, 0.3, 0.3], [0.0, 0.0, 0.0], [0.4, 0.2, 0.1], [0.5, 0.1, 0.2]])
    differences = mean_intervals(values)

    (prior,) = fit_priors([differences])
    p = moderated_p(differences, prior)

    assert fit_priors([mean_intervals(values[[0, 3, 4]])]) == [prior]
    assert np.isnan(p).tolist() == [False, True, False, False, False]
    assert p[2] == 1.0


def test_each_data_set_has_a_variance_of_its_own_and_all_say_how_alike_they_are():
    rng = np.random.default_rng(3)
    small = pair_differences(rng.normal(size=(6, 8)))
    large = Estimates(small.mean, small.low, small.high, small.n, small.p, 10 * small.deviation)

    one, other = fit_priors([small, large])

    assert one.df == other.df
    assert other.variance == pytest.approx(100 * one.variance)


def test_variances_that_scatter_as_chance_has_it_are_all_alike():
    variances = scipy.stats.chi2.ppf((np.arange(50) + 0.5) / 50, 4) / 4  # less spread than a sample has

    (prior,) = fit_priors([estimates_of(variances, np.full(50, 4))])

    assert prior.df == math.inf
    assert prior.variance == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("values", [np.ones((1, 5)), np.arange(10.0).reshape(2, 5), np.ones((3, 5))], ids=["one", "a pair", "constant"])
def test_where_there_is_nothing_to_compare_variances_with_there_is_no_prior(values):
    assert fit_priors([pair_differences(values)]) == [NOTHING]


def test_a_noisy_baseline_makes_all_differences_to_it_noisy():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(8, 6))
    values[0] *= 6
    (prior,) = fit_priors([pair_differences(values)])

    of_baseline = against(prior, paired_differences(values[1:], values[0]))

    assert of_baseline.df == prior.df / 2
    assert of_baseline.variance > 4 * prior.variance
    assert against(prior, paired_differences(values[2:], values[1])).variance >= prior.variance


@pytest.mark.parametrize("x", [1e-8, 1e-3, 0.5, 3.0, 1e5, 1e9])
def test_the_inverse_of_the_trigamma_function_is_one(x):
    assert scipy.special.polygamma(1, trigamma_inverse(x)) == pytest.approx(x, rel=1e-3 if x > 1e7 else 1e-6)
