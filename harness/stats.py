"""
Intervals, paired tests, ranks over data sets, and what a number of seeds can show.

Arrays have one row a method and one column a seed; where several data sets are compared, the data set comes first. A figure that does not exist is NaN.
Scores (as against values) are larger where they are better. The distributions are scipy's; the arithmetic around them is vectorised over methods, and is held
against ``scipy.stats``, ``statsmodels``, ``scikit-posthocs`` and ``autorank`` in the tests. Every resampling draws the same seeds for all methods, with
a fixed seed of its own: the methods stay paired, and their order changes nothing. What each rule is worth is simulated in
``benchmarks/leaderboard_statistics.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from harness.moderation import NOTHING, Prior, moderated_p, one_sided_p

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LEVEL",
    "POWER",
    "SIGNIFICANCE",
    "Estimates",
    "PairTests",
    "average_ranks",
    "best_probabilities",
    "compare_all",
    "critical_difference",
    "detectable_effect",
    "friedman",
    "holm",
    "improvement_probability",
    "interquartile_means",
    "mean_intervals",
    "noise_floor",
    "pair_differences",
    "paired_differences",
    "pairing_gain",
    "signed_rank_p",
    "snapped",
    "win_rates",
]

LEVEL = 0.95
SIGNIFICANCE = 0.05
POWER = 0.8
RESAMPLES = 2000
SEED = 20240501
ROUNDING = 1e-12  # of the largest figure: what differs by less differs by the order of additions alone
AT_ONCE = 4_000_000  # figures that a resampling holds at a time: ten thousand seeds drawn two thousand times are 160 MB an array
QUANTILES = 32  # of an estimated standard deviation, over which a power is the mean
MOST_SIGNS = 13  # up to here all assignments of signs are enumerated, which ties do not forbid; scipy draws this line too


@dataclass(frozen=True)
class Estimates:
    """
    A mean with its interval for each row.

    Args:
        mean: ``(M,)``; NaN where no seed has a figure.
        low: ``(M,)``, lower end of the 95 % interval; NaN with fewer than two seeds.
        high: ``(M,)``, upper end.
        n: ``(M,)``, seeds with a figure.
        p: ``(M,)``, two-sided p-value of a mean of 0; NaN with fewer than two seeds, and where nothing varies around a mean that is not 0: a t test needs
            scatter.
        deviation: ``(M,)``, standard deviation over the seeds; NaN with fewer than two.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]
    p: NDArray[np.float64]
    deviation: NDArray[np.float64]


def mean_intervals(values: NDArray[np.float64], scale: NDArray[np.float64] | None = None) -> Estimates:
    """
    Estimate the mean of each row with Student's t interval over the seeds that have a figure.

    Args:
        values: ``(M, S)``.
        scale: ``(M,)``, the largest figure, regardless of its sign, that each row was computed from; the row's own by default. What is smaller than its
            rounding is 0.
    """
    present = ~np.isnan(values)
    smallest = ROUNDING * (_largest(values) if scale is None else scale)
    n = present.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, values, 0.0).sum(axis=1) / n
        squares = (np.where(present, values - mean[:, None], 0.0) ** 2).sum(axis=1)
        deviation = np.sqrt(squares / (n - 1))
        deviation[n < 2] = np.nan
        error = np.sqrt(squares / (n - 1) / n)
        error[n < 2] = np.nan
        flat = (n > 1) & (deviation <= smallest)
        deviation[flat] = error[flat] = 0.0
        half, p = error, error.copy()  # without two seeds anywhere there is neither, and a look at one seed does not wait for the import
        if (n > 1).any():
            from scipy.special import stdtr, stdtrit

            half = stdtrit(np.maximum(n - 1, 1), 0.5 + LEVEL / 2) * error
            p = 2 * stdtr(np.maximum(n - 1, 1), -np.abs(mean / error))
        p[flat] = np.where(
            np.abs(mean[flat]) <= smallest[flat], 1.0, np.nan
        )  # 1: equal on every seed, so that nothing speaks for a difference

    return Estimates(mean, mean - half, mean + half, n, p, deviation)


def _largest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest figure of each row regardless of its sign; 0 where there is none."""
    largest: NDArray[np.float64] = np.nan_to_num(np.abs(values)).max(axis=-1, initial=0.0)

    return largest


def _settled(differences: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return differences without what is nothing but rounding of figures up to ``scale``: equal figures differ by 0."""
    return np.where(np.abs(differences) <= ROUNDING * scale, 0.0 * differences, differences)


def snapped(means: NDArray[np.float64], scale: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Return means of which those are equal that differ by rounding alone, so that they tie.

    Args:
        means: ``(..., M)``, compared along the last axis; NaN stays NaN.
        scale: The largest figure, regardless of its sign, that the means were computed from; its shape goes with ``means``.
    """
    order = np.argsort(means, axis=-1, kind="stable")
    ordered = np.take_along_axis(means, order, axis=-1)
    first = np.ones(ordered.shape, dtype=bool)
    first[..., 1:] = ~(np.diff(ordered, axis=-1) <= ROUNDING * np.asarray(scale))
    places = np.maximum.accumulate(np.where(first, np.arange(means.shape[-1]), 0), axis=-1)
    equal = np.empty_like(means)
    np.put_along_axis(equal, order, np.take_along_axis(ordered, places, axis=-1), axis=-1)

    return equal


def paired_differences(values: NDArray[np.float64], reference: NDArray[np.float64]) -> Estimates:
    """
    Estimate the difference of each row to one reference, seed by seed (the paired t test), over the seeds that both have.

    Args:
        values: ``(M, S)``.
        reference: ``(S,)``.
    """
    return mean_intervals(values - reference[None, :], np.maximum(_largest(values), _largest(reference)))


def signed_rank_p(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Return the two-sided p-value of Wilcoxon's signed-rank test of each row; NaN without a seed.

    It is exact for up to 50 seeds without ties and up to 13 with ties, otherwise the normal approximation; differences of 0 are dropped. With n seeds it
    is never below ``2 / 2^n``: five seeds cannot reach 0.05.

    Args:
        differences: ``(M, S)``, paired.
    """
    p = np.full(len(differences), np.nan)
    for row, seeds in enumerate(differences):
        present = seeds[~np.isnan(seeds)]
        # Rounded, since 0.52 - 0.50 and 0.53 - 0.51 tie on paper and not in binary.
        scaled = np.round(present / max(np.abs(present).max(initial=0.0), 1e-300), 12)
        moved = scaled[scaled != 0]
        if not len(moved):
            p[row] = 1.0 if len(present) else np.nan
        elif len(moved) > MOST_SIGNS:
            from scipy.stats import wilcoxon

            tied = len(np.unique(np.abs(moved))) < len(moved)
            p[row] = wilcoxon(moved, method="asymptotic" if tied or len(moved) > 50 else "exact").pvalue
        else:
            ranks = average_ranks(-np.abs(moved), 0.0)
            sums = _signs(len(moved)) @ ranks
            own = ranks[moved > 0].sum()
            # Half ranks are exact in binary, so equal sums compare as equal.
            p[row] = min(1.0, 2 * min((sums <= own).mean(), (sums >= own).mean()))

    return p


@cache
def _signs(n: int) -> NDArray[np.float64]:
    """Return every choice of n signs, 1 for positive: ``(2^n, n)``."""
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Correct p-values for their number by Holm's step-down procedure; NaN stays NaN and does not count.

    Args:
        p: ``(K,)``.
    """
    corrected = np.full_like(p, np.nan)
    present = np.flatnonzero(~np.isnan(p))
    order = present[np.argsort(p[present], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0) if len(order) else []

    return corrected


def pair_differences(values: NDArray[np.float64]) -> Estimates:
    """
    Estimate the differences of all pairs of rows, those of ``np.triu_indices`` in their order.

    Args:
        values: ``(M, S)``.
    """
    first, second = np.triu_indices(len(values), 1)
    largest = _largest(values)

    return mean_intervals(values[first] - values[second], np.maximum(largest[first], largest[second]))


@dataclass(frozen=True)
class PairTests:
    """
    Which methods of a data set are told apart.

    Args:
        best: ``(M,)``, complete and not significantly worse than the top one; where no method is better than another, all are in at least 95 % of tables.
        candidates: ``(M,)``, complete and not excluded as the best one; the truly best one is in at least 95 % of tables (Hsu's comparison with the best).
        better: ``(M,)``, how many methods are significantly better.
        worse: ``(M,)``, how many are significantly worse.
    """

    best: NDArray[np.bool_]
    candidates: NDArray[np.bool_]
    better: NDArray[np.int64]
    worse: NDArray[np.int64]


def compare_all(scores: NDArray[np.float64], prior: Prior = NOTHING) -> PairTests:
    """
    Compare all pairs of the methods that are complete, by paired t tests with moderated variances and Holm's correction over all pairs.

    A pair whose difference is the same on every seed cannot be tested, and parts nobody; methods whose own figures are the same on every seed are compared as
    they stand. All pairs count, because which method is on top was found by looking at all. One seed tells nothing about the next, so with one nobody is best.

    Args:
        scores: ``(M, S)``, larger is better; a row with a NaN is not complete.
        prior: Of the variances of this data set.
    """
    complete = np.flatnonzero(~np.isnan(scores).any(axis=1))
    found = PairTests(*(np.zeros(len(scores), dtype=kind) for kind in (bool, bool, np.int64, np.int64)))
    if not len(complete) or scores.shape[1] < 2:
        return found
    kept = scores[complete]
    first, second = np.triu_indices(len(kept), 1)
    largest = _largest(kept)
    differences = pair_differences(kept)
    p, above = moderated_p(differences, prior), one_sided_p(differences, prior)
    constant = np.ptp(kept, axis=1) <= ROUNDING * largest
    decided = np.isnan(p) & constant[first] & constant[second]  # the seed decides neither figure: their order is no estimate
    p[decided] = 0.0
    above[decided] = np.where(differences.mean[decided] > 0, 0.0, 1.0)

    apart = np.zeros((len(kept), len(kept)), dtype=bool)
    apart[first, second] = apart[second, first] = holm(p) < SIGNIFICANCE
    means = snapped(kept.mean(axis=1), largest.max())
    is_better = apart & (means[None, :] > means[:, None])  # of the column's method over the row's
    beaten = np.ones((len(kept), len(kept)))
    beaten[second, first], beaten[first, second] = np.where(np.isnan(above), 1.0, above), np.where(np.isnan(above), 1.0, 1 - above)
    found.best[complete] = ~is_better[:, int(np.argmax(means))]
    found.candidates[complete] = beaten.min(axis=1) * max(len(kept) - 1, 1) >= SIGNIFICANCE
    found.better[complete], found.worse[complete] = is_better.sum(axis=1), is_better.sum(axis=0)

    return found


def win_rates(scores: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Return on which share of the seeds that both have each row beats the reference, a tie counting half; NaN without such a seed.

    Args:
        scores: ``(M, S)``, larger is better.
        reference: ``(S,)``.
    """
    differences = _settled(scores - reference[None, :], np.maximum(_largest(scores), _largest(reference))[:, None])
    present = ~np.isnan(differences)
    won = np.where(present, (np.sign(np.nan_to_num(differences)) + 1) / 2, 0.0).sum(axis=1)

    rates: NDArray[np.float64] = np.divide(won, present.sum(axis=1), out=np.full(len(scores), np.nan), where=present.any(axis=1))

    return rates


def improvement_probability(scores: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Return how probable it is that a seed of each row beats a seed of the reference, over all pairs of seeds, a tie counting half (Mann and Whitney's U / mn).

    Args:
        scores: ``(M, S)``, larger is better.
        reference: ``(S,)``.
    """
    ordered = np.sort(reference[~np.isnan(reference)])
    margin = ROUNDING * np.maximum(_largest(scores), _largest(reference))[:, None]
    # How many figures of the reference lie below a figure, and how many below or level with it: not pair by pair, of which ten thousand seeds have 10^8.
    below, level = np.searchsorted(ordered, scores - margin, "left"), np.searchsorted(ordered, scores + margin, "right")
    won = np.where(np.isnan(scores), 0.0, (below + level) / 2).sum(axis=1)
    count = (~np.isnan(scores)).sum(axis=1) * len(ordered)

    probability: NDArray[np.float64] = np.divide(won, count, out=np.full(len(scores), np.nan), where=count > 0)

    return probability


def average_ranks(scores: NDArray[np.float64], scale: float | None = None) -> NDArray[np.float64]:
    """
    Rank scores, highest first, rank 1 the best, ties sharing the mean of their ranks; NaN stays NaN. Scores that differ by rounding alone tie.

    Args:
        scores: ``(M,)``.
        scale: The largest figure, regardless of its sign, that the scores are means of; that of the scores by default.
    """
    scores = snapped(scores, _largest(scores) if scale is None else scale)
    above = (scores[None, :] > scores[:, None]).sum(axis=1)
    equal = (scores[None, :] == scores[:, None]).sum(axis=1)
    ranks = above + (equal + 1) / 2

    return np.where(np.isnan(scores), np.nan, ranks)


def friedman(means: NDArray[np.float64]) -> float:
    """
    Return the p-value of Friedman's test that the methods rank alike on every data set; NaN with fewer than three methods or two data sets.

    Args:
        means: ``(D, M)``, complete.
    """
    datasets, methods = means.shape
    if methods < 3 or datasets < 2:
        return math.nan
    if (means == means[:, :1]).all():  # nothing but ties, of which the statistic would be 0 / 0
        return 1.0

    from scipy.stats import friedmanchisquare

    return float(friedmanchisquare(*means.T).pvalue)


def critical_difference(methods: int, datasets: int) -> float:
    """Return Nemenyi's critical difference of mean ranks at 5 % (Demsar 2006, equation 6 of JMLR 7:1-30); NaN where Friedman's test cannot be made."""
    if methods < 3 or datasets < 2:
        return math.nan

    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(LEVEL, methods, np.inf)) / math.sqrt(2)

    return quantile * math.sqrt(methods * (methods + 1) / (6 * datasets))


def best_probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Return how probable it is that each method is the best of these, by its mean rank: ``(M,)``, adding up to 1.

    Means differ by more than the methods do, since luck is added to them; drawing seeds from the seeds would add it once more. So means are brought together by
    the share of their variance that is not luck, over all data sets (empirical Bayes), and what the seeds scatter is drawn around that.

    Args:
        scores: ``(D, M, S)``, complete, larger is better; two seeds at least.
    """
    from scipy.stats import rankdata

    datasets, methods, seeds = scores.shape
    rng = np.random.default_rng(SEED)
    signal = _share_of_signal(scores)
    ranks = np.zeros((RESAMPLES, methods))
    for values in scores:
        largest = _largest(values).max()
        centre = snapped(values.mean(axis=1), largest)
        for part in _in_parts(RESAMPLES, seeds):
            drawn = rng.integers(seeds, size=(part.stop - part.start, seeds))
            # Not by a matrix product: that may sum the same figures of two methods in two orders, and break their tie.
            noise = np.stack([row[drawn].mean(axis=1) - mean for row, mean in zip(values, centre, strict=True)], axis=1)
            means = math.sqrt(signal) * centre + math.sqrt(seeds / (seeds - 1)) * noise
            ranks[part] += rankdata(-snapped(means, largest), axis=1)
    heights = snapped(-ranks, datasets * methods)
    first = heights == heights.max(axis=1, keepdims=True)

    probabilities: NDArray[np.float64] = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)

    return probabilities


def _share_of_signal(scores: NDArray[np.float64]) -> float:
    """Return the share of the variance between means ``(D, M, S)`` that the scatter over seeds, what all methods share left aside, does not explain."""
    _, methods, seeds = scores.shape
    if methods < 2:
        return 1.0
    scores = np.take_along_axis(
        scores, np.argsort(scores.mean(axis=2), axis=1, kind="stable")[:, :, None], axis=1
    )  # their order must not show in any sum
    means = scores.mean(axis=2)
    shared = np.sort(scores, axis=1).mean(axis=1, keepdims=True)
    residuals = scores - means[:, :, None] - shared + shared.mean(axis=2, keepdims=True)
    luck = np.sort((residuals**2).reshape(len(scores), -1), axis=1).sum(axis=1) / ((methods - 1) * (seeds - 1)) / seeds
    between = means.var(axis=1, ddof=1)
    if not (luck > (ROUNDING * _largest(scores).max(axis=1)) ** 2).all():
        return 1.0

    return max(0.0, 1 - 1 / max(float((between / luck).mean()), 1.0))


def interquartile_means(values: NDArray[np.float64]) -> Estimates:
    """
    Estimate the mean of the middle half of each method's figures over all data sets and seeds, the seeds of each data set being drawn anew for the interval.

    This is the aggregate of Agarwal et al. (2021, arXiv:2108.13264), with a percentile interval; it needs figures on one scale, such as a bounded metric.

    Args:
        values: ``(D, M, S)``, complete.

    Returns:
        Estimates without p-values; ``n`` counts all figures.
    """
    datasets, methods, seeds = values.shape
    total = datasets * seeds
    rng = np.random.default_rng(SEED)
    once = np.ones((total, 1), dtype=np.int32)
    flat = values.transpose(1, 0, 2).reshape(methods, total)
    mean = np.array([_middle_means(own, once)[0] for own in flat])
    low, high = np.full(methods, np.nan), np.full(methods, np.nan)
    if seeds > 1:
        middles = np.empty((methods, RESAMPLES))
        for part in _in_parts(RESAMPLES, total):
            number = part.stop - part.start
            drawn = rng.integers(seeds, size=(number, datasets, seeds))
            # How often each figure is drawn, one row a figure: ordered by the figures of a method, a cumulative sum finds the middle half without sorting
            # each draw.
            places = (np.arange(number)[:, None, None] + number * (np.arange(datasets)[None, :, None] * seeds + drawn)).reshape(-1)
            times = np.bincount(places, minlength=total * number).reshape(total, number).astype(np.int32)
            for row, own in enumerate(flat):
                middles[row, part] = _middle_means(own, times)
        low, high = np.quantile(middles, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=1)
    nothing = np.full(methods, np.nan)

    return Estimates(mean, low, high, np.full(methods, total), nothing, nothing)


def _middle_means(values: NDArray[np.float64], times: NDArray[np.int32]) -> NDArray[np.float64]:
    """
    Return means without the lowest and the highest quarter, rounded down to whole figures as ``scipy.stats.trim_mean`` does.

    Args:
        values: ``(N,)``.
        times: ``(N, R)``, how often each figure counts; every column adds up to N.
    """
    total = len(values)
    cut = total // 4
    order = np.argsort(values, kind="stable")
    figures = values[order]
    within = np.clip(
        np.cumsum(times[order], axis=0, dtype=np.int32), cut, total - cut
    )  # of the middle, how many are at or below each figure
    # summation by parts of sum(figure * its count within)
    sums = figures[-1] * (total - cut) - figures[0] * cut - np.diff(figures) @ within[:-1]
    means: NDArray[np.float64] = sums / (total - 2 * cut)

    return means


def pairing_gain(values: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """
    Return which share of the variance of differences to the reference the pairing removed: ``1 - var(x - y) / (var(x) + var(y))``, sums over the rows.

    It is 0 where methods do not share their luck, near 1 where they share nearly all, and below 0 where pairing did harm; NaN where nothing varies.

    Args:
        values: ``(M, S)``; rows equal to the reference on every seed are left out, since they are it.
        reference: ``(S,)``.
    """
    both = ~np.isnan(values) & ~np.isnan(reference)[None, :]
    rows = (both.sum(axis=1) > 1) & (np.where(both, values - reference[None, :], 0.0) != 0).any(axis=1)
    paired, apart = [], []
    for own, seeds in zip(values[rows], both[rows], strict=True):
        paired.append(float(np.var(own[seeds] - reference[seeds], ddof=1)))
        apart.append(float(np.var(own[seeds], ddof=1) + np.var(reference[seeds], ddof=1)))
    spread = math.fsum(apart)  # fsum: the order of the methods must not show

    return 1 - math.fsum(paired) / spread if spread > 0 else math.nan


def noise_floor(values: NDArray[np.float64]) -> tuple[float, int]:
    """
    Compare a method with itself on halves of as many seeds: below which size 95 % of the differences of their means are, ``t s sqrt(2 / half)``.

    Args:
        values: ``(S,)``, seeds without a figure as NaN.

    Returns:
        The size, and the seeds in each half; NaN and 0 with fewer than two seeds.
    """
    from scipy.special import stdtrit

    present = values[~np.isnan(values)]
    n = len(present)
    if n < 2:
        return math.nan, 0

    return float(stdtrit(n - 1, 0.5 + LEVEL / 2) * present.std(ddof=1) * math.sqrt(2 / (n // 2))), n // 2


def _in_parts(number: int, width: int) -> Iterator[slice]:
    """Part rows of some width, so that no part holds many more than ``AT_ONCE`` figures; drawn in turn they are the same rows."""
    step = max(1, AT_ONCE // width)
    for start in range(0, number, step):
        yield slice(start, min(start + step, number))


@cache
def detectable_effect(n: int, df: float | None = None, significance: float = SIGNIFICANCE) -> float:
    """
    Return the mean difference, in standard deviations of the paired differences as they were estimated, that a two-sided paired t test of as many other seeds
    finds with a power of 80 %: the mean over what the true standard deviation may be.

    Args:
        n: Seeds; NaN with fewer than two.
        df: Degrees of freedom of the standard deviation; n - 1 by default.
        significance: Of the test.
    """
    if n < 2:
        return math.nan

    from scipy.optimize import brentq
    from scipy.special import gammaincinv, nctdtr, stdtrit

    df = n - 1 if df is None else df
    threshold = stdtrit(df, 1 - significance / 2)
    estimated = np.sqrt(2 * gammaincinv(df / 2, (np.arange(QUANTILES) + 0.5) / QUANTILES) / df)  # by the true one

    def lacking(effect: float) -> float:
        shift = effect * math.sqrt(n) * estimated
        wrong_sign = np.nan_to_num(nctdtr(df, shift, -threshold))  # scipy has NaN far out, where less than 1e-10 is left

        return float((1 - nctdtr(df, shift, threshold) + wrong_sign).mean()) - POWER

    enough = 1 / math.sqrt(n)
    while lacking(enough) < 0:
        enough *= 2

    return float(brentq(lacking, 0.0, enough, xtol=1e-9))
