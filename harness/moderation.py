"""
Moderated variances: how far a difference scatters, in view of all differences of its table (Smyth 2004, doi 10.2202/1544-6115.1027, section 6).

With few seeds the variance of one difference is hardly known, but the many pairs of a table say which variances are usual. That is put as a prior: a variance
of its own for each data set, and degrees of freedom, from all data sets, that say how much alike the variances of a data set are. Differences that share a
method share its noise, which the prior cannot see, so it never counts for more than the seeds themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.stats import Estimates

__all__ = ["NOTHING", "Prior", "against", "fit_priors", "moderated_deviation", "moderated_p", "one_sided_p", "trigamma_inverse"]


@dataclass(frozen=True)
class Prior:
    """
    What variances are usual on one data set.

    Args:
        df: Degrees of freedom, infinite where all variances of a data set are alike; 0 where nothing is known.
        variance: The usual one.
    """

    df: float
    variance: float

    def weight(self, df: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return for how many degrees of freedom the prior counts beside variances of ``df`` ``(K,)``: for as many at most."""
        return np.minimum(self.df, df)


NOTHING = Prior(0.0, 0.0)


def fit_priors(tables: Sequence[Estimates], df: float | None = None) -> list[Prior]:
    """
    Estimate the prior of each data set from its differences: the mean of the logarithms of their variances, and how far these scatter over all data sets.

    Args:
        tables: Of each data set, all its differences; those that do not scatter are left out.
        df: The prior's degrees of freedom, where they are known.
    """
    from scipy.special import polygamma

    logarithms, degrees = [], []
    for differences in tables:
        kept = (differences.n > 1) & (np.nan_to_num(differences.deviation) > 0)
        own = (differences.n[kept] - 1).astype(float)
        logarithms.append(
            np.sort(2 * np.log(differences.deviation[kept]) + _bias(own))
        )  # sorted: the order of the methods must not show in any sum
        degrees.append(own)
    if df is None:
        spare = sum(len(values) - 1 for values in logarithms if len(values))
        if spare < 1:
            return [NOTHING] * len(tables)
        scatter = sum(float(((values - values.mean()) ** 2).sum()) for values in logarithms if len(values)) / spare
        excess = scatter - float(polygamma(1, np.sort(np.concatenate(degrees)) / 2).mean())
        df = 2 * trigamma_inverse(excess) if excess > 0 else math.inf
    shift = float(_bias(np.array([df]))[0]) if 0 < df < math.inf else 0.0

    return [Prior(df, math.exp(float(values.mean()) - shift)) if len(values) else NOTHING for values in logarithms]


def against(prior: Prior, differences: Estimates) -> Prior:
    """
    Return the prior for differences to one method, which all have its noise: half the degrees of freedom, and their own usual variance where that is greater.

    Args:
        prior: Of all pairs of the data set.
        differences: To the one method.
    """
    (own,) = fit_priors([differences], df=prior.df)

    return Prior(prior.df / 2, max(prior.variance, own.variance))


def moderated_p(differences: Estimates, prior: Prior) -> NDArray[np.float64]:
    """
    Return the two-sided p-value of each mean difference with its moderated variance, ``(K,)``; as it stands where nothing scatters.

    Args:
        differences: K of them.
        prior: Of their data set.
    """
    from scipy.special import stdtr

    statistic, df = _statistic(differences, prior)

    return np.where(np.nan_to_num(differences.deviation) > 0, 2 * stdtr(df, -np.abs(statistic)), differences.p)


def one_sided_p(differences: Estimates, prior: Prior) -> NDArray[np.float64]:
    """Return the p-value of each mean difference for the alternative that it is above 0, ``(K,)``; NaN where nothing scatters."""
    from scipy.special import stdtr

    statistic, df = _statistic(differences, prior)

    return np.where(np.nan_to_num(differences.deviation) > 0, stdtr(df, -statistic), np.nan)


def trigamma_inverse(x: float) -> float:
    """Return the y > 0 at which the trigamma function is ``x > 0``, by Newton's method on its reciprocal, which is nearly straight (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    if x > 1e7:
        return 1 / math.sqrt(x)
    if x < 1e-6:
        return 1 / x
    y = 0.5 + 1 / x
    while True:
        value = float(polygamma(1, y))
        step = value * (1 - value / x) / float(polygamma(2, y))
        y += step
        if abs(step) < 1e-10 * y:
            return y


def _bias(df: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is added to the logarithm of a variance so that its mean is that of the true one."""
    from scipy.special import digamma

    bias: NDArray[np.float64] = np.log(df / 2) - digamma(df / 2)

    return bias


def moderated_deviation(differences: Estimates, prior: Prior) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the moderated standard deviations of differences, ``(K,)``, and their degrees of freedom, those of the prior included."""
    own = np.maximum(differences.n - 1, 1).astype(float)
    weight = prior.weight(own)

    return np.sqrt((weight * prior.variance + own * differences.deviation**2) / (weight + own)), weight + own


def _statistic(differences: Estimates, prior: Prior) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the moderated t statistic and its degrees of freedom."""
    deviation, df = moderated_deviation(differences, prior)
    with np.errstate(invalid="ignore", divide="ignore"):
        return differences.mean / deviation * np.sqrt(np.maximum(differences.n, 1)), df
