"""
Intervals, paired tests and ranks over seeds.

Arrays have one row a method and one column a seed; a figure that does not exist is NaN. The distributions are scipy's; the arithmetic around them is
vectorised over methods and blind to missing seeds, and is held against ``scipy.stats`` and ``statsmodels`` in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LEVEL", "Estimates", "average_ranks", "holm", "mean_intervals", "paired_differences"]

LEVEL = 0.95


@dataclass(frozen=True)
class Estimates:
    """
    A mean with its interval for each row.

    Args:
        mean: ``(M,)``; NaN where no seed has a figure.
        low: ``(M,)``, lower end of the 95 % interval; NaN with fewer than two seeds.
        high: ``(M,)``, upper end.
        n: ``(M,)``, seeds with a figure.
        p: ``(M,)``, two-sided p-value of a mean of 0; NaN with fewer than two seeds.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]
    p: NDArray[np.float64]


def mean_intervals(values: NDArray[np.float64]) -> Estimates:
    """
    Estimate the mean of each row with Student's t interval over the seeds that have a figure.

    Args:
        values: ``(M, S)``.
    """
    from scipy.special import stdtr, stdtrit

    present = ~np.isnan(values)
    n = present.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(present, values, 0.0).sum(axis=1) / n
        squares = (np.where(present, values - mean[:, None], 0.0) ** 2).sum(axis=1)
        error = np.sqrt(squares / (n - 1) / n)
        error[n < 2] = np.nan
        half = stdtrit(np.maximum(n - 1, 1), 0.5 + LEVEL / 2) * error
        p = 2 * stdtr(np.maximum(n - 1, 1), -np.abs(mean / error))
        p[(error == 0) & (mean == 0)] = 1.0  # equal on every seed: nothing speaks for a difference
        p[(error == 0) & (mean != 0)] = 0.0

    return Estimates(mean=mean, low=mean - half, high=mean + half, n=n, p=p)


def paired_differences(values: NDArray[np.float64], reference: NDArray[np.float64]) -> Estimates:
    """
    Estimate the difference of each row to one reference, seed by seed (the paired t test), over the seeds that both have.

    Args:
        values: ``(M, S)``.
        reference: ``(S,)``.
    """
    return mean_intervals(values - reference[None, :])


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


def average_ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """
    Rank scores, highest first, rank 1 the best, ties sharing the mean of their ranks; NaN stays NaN.

    Args:
        scores: ``(M,)``.
    """
    above = (scores[None, :] > scores[:, None]).sum(axis=1)
    equal = (scores[None, :] == scores[:, None]).sum(axis=1)
    ranks = above + (equal + 1) / 2

    return np.where(np.isnan(scores), np.nan, ranks)
