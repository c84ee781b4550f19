"""Statistics against scipy and statsmodels, and their properties."""

from __future__ import annotations

import math
from itertools import combinations

import autorank
import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from harness import leaderboard
from harness.stats import (
    LEVEL,
    RESAMPLES,
    SEED,
    SIGNIFICANCE,
    average_ranks,
    best_probabilities,
    compare_all,
    critical_difference,
    detectable_effect,
    friedman,
    holm,
    improvement_probability,
    interquartile_means,
    mean_intervals,
    noise_floor,
    paired_differences,
    pairing_gain,
    signed_rank_p,
    win_rates,
)

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


def test_a_constant_difference_cannot_be_tested_and_no_difference_is_none():
    estimates = paired_differences(np.array([[0.75, 1.25, 1.75], [0.5, 1.0, 1.5]]), np.array([0.5, 1.0, 1.5]))

    assert np.isnan(estimates.p[0])
    assert estimates.p[1] == 1.0
    assert estimates.deviation.tolist() == [0.0, 0.0]


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


BLOCKS = np.random.default_rng(3).normal(size=(8, 5)) + np.array([0.0, 0.2, 1.0, 1.5, 0.1])  # data sets x methods
TABLE = np.random.default_rng(4).normal(0.5, 0.1, (3, 4, 7))  # data sets x methods x seeds


def test_the_star_of_the_reports_stands_for_the_level_of_the_tests():
    assert leaderboard.SIGNIFICANCE == SIGNIFICANCE


@pytest.mark.parametrize("seeds", [3, 5, 10, 50, 60])
def test_the_signed_rank_test_agrees_with_scipy(seeds):
    differences = np.random.default_rng(seeds).normal(0.3, 1, (4, seeds))

    expected = [scipy.stats.wilcoxon(row).pvalue for row in differences]

    assert signed_rank_p(differences) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seeds", [4, 6, 8])
def test_the_signed_rank_test_with_ties_agrees_with_the_permutations_of_scipy(seeds):
    differences = np.random.default_rng(seeds).integers(1, 4, (4, seeds)) * np.random.default_rng(9).choice([-1.0, 1.0], (4, seeds))

    expected = [scipy.stats.wilcoxon(row, method=scipy.stats.PermutationMethod()).pvalue for row in differences]

    assert signed_rank_p(differences) == pytest.approx(expected, abs=1e-9)


def test_the_signed_rank_test_drops_differences_of_nothing_and_missing_seeds():
    row = np.array([0.5, 0.0, -0.25, 1.0, np.nan, 2.0])

    p = signed_rank_p(np.stack([row, np.zeros(6), np.full(6, np.nan)]))

    assert p[0] == pytest.approx(scipy.stats.wilcoxon([0.5, -0.25, 1.0, 2.0]).pvalue, abs=1e-9)
    assert p[1] == 1.0
    assert np.isnan(p[2])


def test_differences_that_tie_on_paper_tie_in_the_signed_rank_test():
    row = np.array([[0.3 - 0.1, 0.5 - 0.3, 0.7 - 0.8, 0.2 - 0.1]])

    assert len(np.unique(np.abs(row))) == 4  # in binary all differ
    assert signed_rank_p(row) == signed_rank_p(np.array([[2.0, 2.0, -1.0, 1.0]]))


def test_five_seeds_cannot_be_significant_by_signed_ranks():
    assert signed_rank_p(np.arange(1.0, 6.0)[None, :]) == pytest.approx([2 / 2**5])


def test_the_win_rate_counts_seeds_and_halves_ties():
    scores = np.array([[1.0, 2.0, 3.0, np.nan], [0.0, 0.0, 0.0, 9.0], [np.nan] * 4])

    rates = win_rates(scores, np.array([0.0, 2.0, 4.0, 5.0]))

    assert rates[:2] == pytest.approx([1.5 / 3, 1.5 / 4])
    assert np.isnan(rates[2])


def test_the_probability_of_improvement_is_that_of_mann_and_whitney():
    values = np.round(VALUES, 1)

    expected = [scipy.stats.mannwhitneyu(row, values[2]).statistic / 49 for row in values]

    assert improvement_probability(values, values[2]) == pytest.approx(expected, abs=1e-12)


def test_the_probability_of_improvement_uses_whatever_seeds_there_are():
    scores = np.array([[1.0, np.nan, 3.0]])

    assert improvement_probability(scores, np.array([2.0, 2.5, np.nan])) == pytest.approx([0.5])


def test_the_best_set_is_exact_for_two_methods_without_a_difference():
    rng = np.random.default_rng(6)

    kept = sum(compare_all(rng.normal(size=(2, 5))).best.all() for _ in range(2000)) / 2000

    assert kept == pytest.approx(0.95, abs=0.015)  # three standard errors


def test_the_best_set_leaves_out_who_is_surely_worse_or_incomplete():
    seeds = np.array([0.5, 0.6, 0.4, 0.55])
    scores = np.stack([seeds, seeds - 0.1 + np.array([0, 1e-3, 0, -1e-3]), seeds + np.array([1e-3, -1e-3, 0, 0]), [0.9, 0.9, 0.9, np.nan]])

    assert compare_all(scores).best.tolist() == [True, False, True, False]


def test_friedman_and_the_critical_difference_agree_with_autorank():
    result = autorank.autorank(pd.DataFrame(BLOCKS), force_mode="nonparametric", order="descending")

    assert friedman(BLOCKS) == pytest.approx(result.pvalue, abs=1e-9)
    # autorank takes its quantile from statsmodels' qsturng, an approximation to five digits; scikit-posthocs and scipy integrate.
    assert critical_difference(5, 8) == pytest.approx(result.cd, rel=2e-5)


def test_the_critical_difference_agrees_with_scikit_posthocs():
    expected = scikit_posthocs.posthoc_nemenyi_friedman(BLOCKS).to_numpy()
    ranks = np.stack([average_ranks(row) for row in BLOCKS]).mean(axis=0)

    quantile = scipy.stats.studentized_range.ppf(LEVEL, 5, np.inf)

    for one, other in combinations(range(5), 2):
        distance = abs(ranks[one] - ranks[other]) / critical_difference(5, 8)
        assert scipy.stats.studentized_range.sf(distance * quantile, 5, np.inf) == pytest.approx(expected[one, other], abs=1e-9)


def test_methods_that_tie_everywhere_do_not_differ():
    assert friedman(np.ones((4, 3))) == 1.0


@pytest.mark.parametrize("shape", [(1, 5), (5, 2)], ids=["one data set", "two methods"])
def test_without_enough_to_rank_there_is_no_test(shape):
    assert np.isnan([friedman(np.ones(shape)), critical_difference(shape[1], shape[0])]).all()


def test_interquartile_means_agree_with_scipy():
    estimates = interquartile_means(TABLE)

    assert estimates.mean == pytest.approx(scipy.stats.trim_mean(TABLE.transpose(1, 0, 2).reshape(4, 21), 0.25, axis=1), abs=1e-12)


def test_the_interval_of_an_interquartile_mean_draws_seeds_within_each_data_set():
    drawn = np.random.default_rng(SEED).integers(7, size=(RESAMPLES, 3, 7))
    means = [scipy.stats.trim_mean(np.concatenate([TABLE[d, 1, seeds[d]] for d in range(3)]), 0.25) for seeds in drawn]

    estimates = interquartile_means(TABLE)

    assert (estimates.low[1], estimates.high[1]) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=1e-9)


def test_the_best_one_is_hardly_ever_excluded_and_worse_ones_sooner_than_by_all_pairs():
    rng = np.random.default_rng(8)
    tables = [compare_all(rng.normal(size=(6, 6)) + np.array([0.0, 0.0, 0.0, 0.0, 1.5, 1.5])[:, None]) for _ in range(600)]

    excluded = np.mean([1 - table.candidates for table in tables], axis=0)

    assert excluded[4:].max() < 0.05 + 3 * 0.009  # three standard errors
    assert excluded[:4].mean() > np.mean([1 - table.best[:4] for table in tables])


def test_it_is_counted_who_is_better_and_who_worse():
    seeds = np.array([0.5, 0.6, 0.4, 0.55])
    scores = np.stack([seeds, seeds - 0.1 + np.array([0, 1e-3, 0, -1e-3]), seeds + np.array([1e-3, -1e-3, 0, 0]), [0.9, 0.9, 0.9, np.nan]])

    compared = compare_all(scores)

    assert compared.better.tolist() == [0, 2, 0, 0]
    assert compared.worse.tolist() == [1, 0, 1, 0]
    assert compared.candidates.tolist() == [True, False, True, False]


def test_who_is_always_ahead_is_best_for_sure_and_twins_share_it():
    ahead = np.stack([TABLE[:, 0] + 1, TABLE[:, 0] + 1, TABLE[:, 1]], axis=1)

    assert best_probabilities(ahead).tolist() == [0.5, 0.5, 0.0]


def test_the_leader_of_equal_methods_is_not_said_to_be_the_best():
    rng = np.random.default_rng(9)

    said = np.mean([best_probabilities(rng.normal(size=(3, 6, 5))).max() for _ in range(60)])

    assert said < 0.45  # drawing from the seeds alone says 0.59


def test_the_chance_of_being_best_is_that_of_the_best_one():
    rng = np.random.default_rng(10)
    said, right = [], []
    for _ in range(150):
        truth = rng.normal(size=(1, 5)) + 0.5 * rng.normal(size=(4, 5))
        likely = best_probabilities(truth[:, :, None] + 1.5 * rng.normal(size=(4, 5, 5)))
        ranks = np.stack([average_ranks(row) for row in truth]).mean(axis=0)
        said.append(likely.max())
        right.append(ranks[likely.argmax()] == ranks.min())

    assert np.mean(right) > np.mean(said) - 0.12  # three standard errors


def test_the_pairing_gain_is_the_share_of_the_covariance():
    covariance = np.cov(VALUES[0], VALUES[1])

    expected = 2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1])

    assert pairing_gain(VALUES[:1], VALUES[1]) == pytest.approx(expected, abs=1e-12)


def test_a_method_that_shares_all_its_luck_gains_all():
    assert pairing_gain(VALUES[:1] + 0.25, VALUES[0]) == pytest.approx(1.0)


def test_twins_of_the_baseline_do_not_raise_the_pairing_gain():
    assert pairing_gain(VALUES[[0, 1]], VALUES[1]) == pairing_gain(VALUES[:1], VALUES[1])


def test_the_noise_floor_is_larger_than_95_percent_of_the_differences_of_halves():
    rng = np.random.default_rng(11)
    values = rng.normal(size=(4000, 5))
    fresh = rng.normal(size=(4000, 2, 2)).mean(axis=2)  # two other halves of two seeds

    below = [abs(one - other) < noise_floor(row)[0] for row, (one, other) in zip(values, fresh, strict=True)]

    assert noise_floor(np.array([0.1, 0.4, 0.2, 0.9, np.nan]))[1] == 2
    assert np.mean(below) == pytest.approx(0.95, abs=0.0104)  # three standard errors


def test_the_noise_floor_of_many_seeds_is_that_of_the_normal_distribution():
    floor, half = noise_floor(scipy.stats.norm.ppf((np.arange(1000) + 0.5) / 1000))

    assert half == 500
    assert floor == pytest.approx(1.96 * np.sqrt(2 / 500), rel=0.06)


def test_one_seed_has_no_noise_floor():
    floor, half = noise_floor(np.array([0.5, np.nan]))

    assert np.isnan(floor)
    assert half == 0


@pytest.mark.parametrize(("seeds", "comparisons"), [(3, 1), (5, 1), (5, 40), (20, 1), (200, 1)])
def test_the_detectable_effect_has_its_power_over_what_the_scatter_may_be(seeds, comparisons):
    effect = detectable_effect(seeds, significance=0.05 / comparisons)
    rng = np.random.default_rng(12)
    tried = 20_000
    estimated = np.sqrt(rng.chisquare(seeds - 1, tried) / (seeds - 1))  # of a true standard deviation of 1

    other = effect * estimated[:, None] + rng.normal(size=(tried, seeds))
    t = other.mean(axis=1) / other.std(axis=1, ddof=1) * np.sqrt(seeds)

    found = (np.abs(t) > scipy.stats.t.isf(0.025 / comparisons, seeds - 1)).mean()
    assert found == pytest.approx(0.8, abs=0.012)  # three standard errors, and what 32 quantiles are off
    assert effect > TTestPower().solve_power(nobs=seeds, alpha=0.05 / comparisons, power=0.8)  # that of a known scatter


GRID = arrays(float, (2, 4, 6), elements=st.integers(0, 64).map(lambda value: value / 64))  # binary fractions: sums and shifts are exact


@given(GRID, st.permutations(range(4)))
def test_permuting_the_methods_permutes_ranks_best_sets_and_middles(table, order):
    order = list(order)

    np.testing.assert_array_equal(best_probabilities(table)[order], best_probabilities(table[:, order]))
    np.testing.assert_array_equal(interquartile_means(table).high[order], interquartile_means(table[:, order]).high)
    assert friedman(table.mean(axis=2)) == pytest.approx(friedman(table.mean(axis=2)[:, order]), abs=1e-9)


@given(GRID, st.integers(-8, 8))
def test_adding_a_constant_changes_no_rank_and_no_best_set(table, constant):
    raised = table + constant

    np.testing.assert_array_equal(best_probabilities(table), best_probabilities(raised))
    np.testing.assert_array_equal(signed_rank_p(table[0] - table[0, 0]), signed_rank_p(raised[0] - raised[0, 0]))
    np.testing.assert_array_equal(win_rates(table[0], table[0, 0]), win_rates(raised[0], raised[0, 0]))
    np.testing.assert_array_equal(improvement_probability(table[0], table[0, 0]), improvement_probability(raised[0], raised[0, 0]))


@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e6])
def test_a_difference_that_varies_by_rounding_alone_cannot_be_tested(factor):
    reference = factor * np.array([0.6, 0.7, 0.3])

    estimates = paired_differences(
        np.stack([reference + factor * 0.1, reference * 3 / 3, reference + factor * np.array([0.1, 0.1, 0.2])]), reference
    )

    assert np.isnan(estimates.p[0])
    assert estimates.p[1] == 1.0
    assert estimates.p[2] > 0


def test_a_small_difference_of_large_figures_is_measured_against_the_figures():
    reference = np.array([1e6, 2e6, 3e6])

    assert np.isnan(paired_differences((reference + 0.1)[None, :], reference).p[0])


def test_figures_that_no_seed_changes_are_compared_as_they_stand():
    constant = compare_all(np.array([[0.913] * 3, [0.914] * 3, [0.914 + 1e-16] * 3]))
    assert constant.best.tolist() == constant.candidates.tolist() == [False, True, True]
    assert compare_all(np.array([[0.6, 0.7], [0.7, 0.8]])).best.all()  # the seeds do change these, and their difference by chance not


def test_means_that_differ_by_rounding_alone_tie():
    rows = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.1, 0.3], [0.2, 0.2, 0.2], [0.3, 0.2, 0.1 + 1e-9]])

    assert average_ranks(rows.mean(axis=1)).tolist() == [3.5, 3.5, 3.5, 3.5, 1.0]
    large = np.array([[1e6, -1e6, 0.1], [0.1, 1e6, -1e6], [1e6, 0.1, -1e6]])
    assert average_ranks(large.mean(axis=1), 1e6).tolist() == [2.0, 2.0, 2.0]


def test_the_order_of_equal_figures_leaves_everything_tied():
    scores = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.1, 0.3]])

    assert compare_all(scores).best.all()
    assert best_probabilities(np.stack([scores[[0, 0, 0]], scores[[0, 0, 0]] + [[0.0], [1e-17], [1e-16]]])) == pytest.approx([1 / 3] * 3)


def test_figures_that_differ_by_rounding_are_no_win():
    scores, reference = np.array([[0.1 + 0.2, 0.7 - 0.1, np.nan]]), np.array([0.3, 0.6, 0.1])

    assert win_rates(scores, reference).tolist() == [0.5]
    assert improvement_probability(scores, np.array([0.3, 0.3, np.nan])).tolist() == [0.75]


@given(
    values=arrays(float, (3, 7), elements=st.integers(0, 5).map(lambda n: n / 10) | st.just(math.nan)),
    reference=arrays(float, 4, elements=st.integers(0, 5).map(lambda n: n / 10) | st.just(math.nan)),
)
def test_the_improvement_probability_is_that_of_all_pairs(values, reference):
    pairs = np.sign(values[:, :, None] - reference)
    expected = [np.nanmean((row + 1) / 2) if not np.isnan(row).all() else math.nan for row in pairs]

    np.testing.assert_allclose(improvement_probability(values, reference), expected)
