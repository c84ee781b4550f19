"""
Intervals, paired tests, ranks over data sets, and what a number of seeds can show.

Arrays have one row a method and one column a seed; where several data sets are compared, the data set comes first. A figure that does not exist is NaN.
Scores (as against values) are larger where they are better. The distributions and the bootstrap are scipy's; the arithmetic around them is vectorised over
methods, and is held against ``scipy.stats``, ``statsmodels``, ``scikit-posthocs`` and ``autorank`` in the tests. Every resampling draws the same
seeds for all methods, with a fixed seed of its own: the methods stay paired, and their order changes nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LEVEL",
    "POWER",
    "SIGNIFICANCE",
    "Estimates",
    "average_ranks",
    "best_set",
    "critical_difference",
    "detectable_effect",
    "friedman",
    "holm",
    "improvement_probability",
    "interquartile_means",
    "intervals",
    "mean_intervals",
    "noise_floor",
    "paired_differences",
    "pairing_gain",
    "resampled_ranks",
    "signed_rank_p",
    "snapped",
    "win_rates",
]

LEVEL = 0.95
SIGNIFICANCE = 0.05
POWER = 0.8
RESAMPLES = 2000  # the ends of an interval then stand at the 50th resample of 2000 on either side
SEED = 20240501
# Where BCa takes over from t: from here on it misses skewed means about as seldom, and less one-sidedly; with fewer seeds it is too narrow
# (benchmarks/leaderboard_statistics.py).
MIN_FOR_BOOTSTRAP = 20
SKEWED = 1.0
ROUNDING = 1e-12  # of the largest figure: what differs by less differs by the order of additions alone
MOST_SPLITS = 2000
AT_ONCE = 4_000_000  # figures that a resampling holds at a time: ten thousand seeds drawn two thousand times are 160 MB an array
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
        bootstrapped: ``(M,)``, whether the interval is BCa's; Student's t otherwise.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]
    p: NDArray[np.float64]
    deviation: NDArray[np.float64]
    bootstrapped: NDArray[np.bool_]


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

    return Estimates(mean, mean - half, mean + half, n, p, deviation, np.zeros(len(values), dtype=bool))


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


def intervals(values: NDArray[np.float64]) -> Estimates:
    """
    Estimate the mean of each row with the interval that suits it: BCa's where at least 20 seeds are clearly skewed, Student's t elsewhere.

    Args:
        values: ``(M, S)``.
    """
    estimates = mean_intervals(values)
    skewed = np.flatnonzero((estimates.n >= MIN_FOR_BOOTSTRAP) & (np.abs(_skewness(values, estimates)) > SKEWED))
    if not len(skewed):
        return estimates

    from scipy.stats import DegenerateDataWarning, bootstrap

    low, high, bootstrapped = estimates.low.copy(), estimates.high.copy(), estimates.bootstrapped.copy()
    for row in skewed:
        present = values[row][~np.isnan(values[row])]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateDataWarning)  # it says so with NaN too, and then t stays
            result = bootstrap(
                (present,),
                np.mean,
                axis=-1,
                n_resamples=RESAMPLES,
                batch=max(1, AT_ONCE // len(present)),  # else the jackknife of BCa holds the square of the seeds
                confidence_level=LEVEL,
                method="BCa",
                rng=np.random.default_rng(SEED),
            )
        ends = result.confidence_interval
        if np.isfinite([ends.low, ends.high]).all():
            low[row], high[row], bootstrapped[row] = ends.low, ends.high, True

    return replace(estimates, low=low, high=high, bootstrapped=bootstrapped)


def _skewness(values: NDArray[np.float64], estimates: Estimates) -> NDArray[np.float64]:
    """Return the third standardised moment of each row; 0 where nothing but rounding varies."""
    centred = np.where(np.isnan(values), 0.0, values - estimates.mean[:, None])
    n = np.maximum(estimates.n, 1)
    second, third = (centred**2).sum(axis=1) / n, (centred**3).sum(axis=1) / n
    varies = second > (1e-12 * np.maximum(np.abs(np.nan_to_num(estimates.mean)), 1e-100)) ** 2

    skewness: NDArray[np.float64] = np.divide(third, second**1.5, out=np.zeros(len(values)), where=varies)

    return skewness


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


def best_set(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """
    Return which methods are complete and not significantly worse than the top one (paired t test, Holm over all pairs of complete methods).

    A pair whose difference is the same on every seed cannot be tested, and parts nobody; methods whose own figures are the same on every seed are compared as
    they stand. All pairs count, because which method is on top was found by looking at all: where none differs, the set holds all of them in 95 % of tables
    (benchmarks/leaderboard_statistics.py). One seed tells nothing about the next, so with one nobody is best.

    Args:
        scores: ``(M, S)``, larger is better; a row with a NaN is not complete.
    """
    complete = np.flatnonzero(~np.isnan(scores).any(axis=1))
    best = np.zeros(len(scores), dtype=bool)
    if not len(complete) or scores.shape[1] < 2:
        return best
    kept = scores[complete]
    first, second = np.triu_indices(len(kept), 1)
    largest = _largest(kept)
    p = mean_intervals(kept[first] - kept[second], np.maximum(largest[first], largest[second])).p
    constant = np.ptp(kept, axis=1) <= ROUNDING * largest
    p[np.isnan(p) & constant[first] & constant[second]] = 0.0  # the seed decides neither figure: their order is no estimate
    corrected = np.ones((len(kept), len(kept)))
    corrected[first, second] = corrected[second, first] = holm(p)
    means = snapped(kept.mean(axis=1), largest.max())
    top = int(np.argmax(means))
    best[complete] = ~((corrected[top] < SIGNIFICANCE) & (means < means[top]))

    return best


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


@dataclass(frozen=True)
class ResampledRanks:
    """
    Mean ranks over data sets under resampling of the seeds.

    Args:
        low: ``(M,)``, 2.5 % quantile of the mean rank.
        high: ``(M,)``, 97.5 % quantile.
        best: ``(M,)``, the share of resamples in which the method has the lowest mean rank; those that tie share it.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    best: NDArray[np.float64]


def resampled_ranks(scores: NDArray[np.float64]) -> ResampledRanks:
    """
    Draw the seeds of every data set anew, the same for all methods, and rank again.

    Args:
        scores: ``(D, M, S)``, complete, larger is better.
    """
    from scipy.stats import rankdata

    datasets, methods, seeds = scores.shape
    rng = np.random.default_rng(SEED)
    ranks = np.zeros((RESAMPLES, methods))
    for values in scores:
        for part in _in_parts(RESAMPLES, seeds):
            drawn = rng.integers(seeds, size=(part.stop - part.start, seeds))
            # Not by a matrix product: that may sum the same figures of two methods in two orders, and break their tie.
            means = np.stack([row[drawn].mean(axis=1) for row in values], axis=1)
            ranks[part] += rankdata(-snapped(means, _largest(values).max()), axis=1)
    ranks /= datasets
    first = ranks == ranks.min(axis=1, keepdims=True)
    low, high = np.quantile(ranks, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)

    return ResampledRanks(low=low, high=high, best=(first / first.sum(axis=1, keepdims=True)).mean(axis=0))


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

    return Estimates(mean, low, high, np.full(methods, total), nothing, nothing, np.ones(methods, dtype=bool))


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
    Compare a method with itself on disjoint halves of its seeds: all splits, or a sample of 2000 where there are more.

    Args:
        values: ``(S,)``, seeds without a figure as NaN.

    Returns:
        The 95 % quantile of the absolute difference of the two means, and the seeds in each half; NaN and 0 with fewer than two seeds.
    """
    present = values[~np.isnan(values)]
    n = len(present)
    half = n // 2
    if half < 1:
        return math.nan, 0
    if math.comb(n, half) * math.comb(n - half, half) // 2 <= MOST_SPLITS:
        parts = iter([_splits(n)])
    else:
        rng = np.random.default_rng(SEED)
        parts = (rng.permuted(np.tile(np.arange(n), (part.stop - part.start, 1)), axis=1) for part in _in_parts(MOST_SPLITS, n))
    differences = [np.abs(present[rows[:, :half]].mean(axis=1) - present[rows[:, half : 2 * half]].mean(axis=1)) for rows in parts]

    return float(np.quantile(np.concatenate(differences), LEVEL)), half


def _in_parts(number: int, width: int) -> Iterator[slice]:
    """Part rows of some width, so that no part holds many more than ``AT_ONCE`` figures; drawn in turn they are the same rows."""
    step = max(1, AT_ONCE // width)
    for start in range(0, number, step):
        yield slice(start, min(start + step, number))


@cache
def _splits(n: int) -> NDArray[np.int64]:
    """Return all splits of n seeds into two halves, once each: ``(K, 2 * (n // 2))``, the first half in front."""
    from itertools import combinations

    half = n // 2
    rows = [
        (*first, *second)
        for first in combinations(range(n), half)
        for second in combinations(sorted(set(range(n)) - set(first)), half)
        if first < second
    ]

    return np.array(rows)


@cache
def detectable_effect(n: int) -> float:
    """
    Return the mean difference, in standard deviations of the paired differences, that a two-sided paired t test at 5 % finds with a power of 80 %.

    Args:
        n: Seeds; NaN with fewer than two.
    """
    if n < 2:
        return math.nan

    from scipy.optimize import brentq
    from scipy.special import nctdtr, stdtrit

    threshold = stdtrit(n - 1, 1 - SIGNIFICANCE / 2)

    def lacking(effect: float) -> float:
        shift = effect * math.sqrt(n)

        wrong_sign = np.nan_to_num(nctdtr(n - 1, shift, -threshold))  # scipy has NaN far out, where less than 1e-10 is left

        return float(1 - nctdtr(n - 1, shift, threshold) + wrong_sign) - POWER

    enough = 1 / math.sqrt(n)
    while lacking(enough) < 0:
        enough *= 2

    return float(brentq(lacking, 0.0, enough, xtol=1e-13))
