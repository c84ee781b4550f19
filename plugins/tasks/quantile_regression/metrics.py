"""
The metrics: functions of what a method predicted and of the whole truth.

Three numbers go by the name of weighted interval score; each stands here under a name of its own. A figure that does not exist is ``None``. Quantiles that
are not finite are a trial that diverged, whatever the figure.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.metrics import mean_pinball_loss

from harness import TrialDiverged
from plugins.tasks.quantile_regression.protocol import Outcome, QuantileData

__all__ = [
    "calibration_error",
    "central_pairs",
    "coverage_error",
    "coverages",
    "crossing_rate",
    "excess_wis",
    "interval_score",
    "interval_scores",
    "level_errors",
    "pinball_losses",
    "wis",
    "wis_sum",
]

SAME_LEVEL = 1e-9


def pinball_losses(quantiles: np.ndarray, y: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the mean pinball loss of each level, ``(m,)``, of quantiles ``(n, m)`` for responses ``(n,)``."""
    return np.array([mean_pinball_loss(y, quantiles[:, k], alpha=level) for k, level in enumerate(levels)])


def central_pairs(levels: np.ndarray) -> list[tuple[int, int]]:
    """Return the positions of the levels t and 1 - t for each t below one half that has its counterpart, the widest interval first."""
    pairs = []
    for lower, level in enumerate(levels):
        upper = np.flatnonzero(np.abs(levels - (1 - level)) < SAME_LEVEL)
        if level < 0.5 - SAME_LEVEL and len(upper) > 0:
            pairs.append((lower, int(upper[0])))

    return pairs


def interval_scores(quantiles: np.ndarray, y: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """
    Return the mean interval score of each central interval, ``(u - l) + ((l - y)_+ + (y - u)_+) / t`` with ends at the levels t and 1 - t.

    Args:
        quantiles: ``(n, m)``.
        y: ``(n,)``.
        levels: ``(m,)``.

    Returns:
        One a pair of :func:`central_pairs`.
    """
    scores = []
    for i, j in central_pairs(levels):
        low, high = quantiles[:, i], quantiles[:, j]
        scores.append(np.mean(high - low + (np.maximum(low - y, 0) + np.maximum(y - high, 0)) / levels[i]))

    return np.array(scores)


def coverages(quantiles: np.ndarray, y: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the share of responses within each central interval, ends included, one a pair of :func:`central_pairs`."""
    return np.array([np.mean((quantiles[:, i] <= y) & (y <= quantiles[:, j])) for i, j in central_pairs(levels)])


def level_errors(quantiles: np.ndarray, y: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return ``|share of responses at or below the quantile - level|``, ``(m,)``."""
    return np.abs((y[:, None] <= quantiles).mean(axis=0) - levels)


def wis(outcome: Outcome, data: QuantileData) -> float:
    """Return twice the mean over samples and levels of the pinball loss."""
    return float(2 * pinball_losses(_finite(outcome.quantiles), data.test.y, data.levels).mean())


def wis_sum(outcome: Outcome, data: QuantileData) -> float:
    """Return twice the sum over levels of the mean pinball loss, which for symmetric levels is a weighted sum of interval scores."""
    return float(2 * pinball_losses(_finite(outcome.quantiles), data.test.y, data.levels).sum())


def interval_score(outcome: Outcome, data: QuantileData) -> float | None:
    """Return the unweighted mean of :func:`interval_scores`; ``None`` without a central interval."""
    scores = interval_scores(_finite(outcome.quantiles), data.test.y, data.levels)

    return float(scores.mean()) if len(scores) > 0 else None


def excess_wis(outcome: Outcome, data: QuantileData) -> float | None:
    """Return :func:`wis` less that of the true quantiles on the same responses, so that their luck cancels; ``None`` where they are not known."""
    if data.test_quantiles is None:
        return None

    return wis(outcome, data) - float(2 * pinball_losses(data.test_quantiles, data.test.y, data.levels).mean())


def calibration_error(outcome: Outcome, data: QuantileData) -> float:
    """Return the mean of :func:`level_errors`."""
    return float(level_errors(_finite(outcome.quantiles), data.test.y, data.levels).mean())


def coverage_error(outcome: Outcome, data: QuantileData) -> float | None:
    """Return the mean distance between coverage and nominal coverage over the central intervals; ``None`` without one."""
    nominal = np.array([1 - 2 * data.levels[i] for i, _ in central_pairs(data.levels)])
    if len(nominal) == 0:
        return None

    return float(np.abs(coverages(_finite(outcome.quantiles), data.test.y, data.levels) - nominal).mean())


def crossing_rate(outcome: Outcome, data: QuantileData) -> float | None:
    """Return the share of adjacent pairs whose upper quantile is below the lower one before repair; ``None`` for a single level."""
    raw = _finite(outcome.raw)

    return float((np.diff(raw, axis=1) < 0).mean()) if raw.shape[1] > 1 else None


def _pinball_at(outcome: Outcome, data: QuantileData, *, level: float) -> float | None:
    """Return the mean pinball loss of one level; ``None`` where the data do not have it."""
    place = np.flatnonzero(np.abs(data.levels - level) < SAME_LEVEL)
    if len(place) == 0:
        return None

    return float(mean_pinball_loss(data.test.y, _finite(outcome.quantiles)[:, place[0]], alpha=level))


def _coverage_at(outcome: Outcome, data: QuantileData, *, nominal: float) -> float | None:
    """Return the coverage of one central interval; ``None`` where the levels do not have its ends."""
    ends = _ends(outcome, data, nominal)

    return None if ends is None else float(np.mean((ends[0] <= data.test.y) & (data.test.y <= ends[1])))


def _width_at(outcome: Outcome, data: QuantileData, *, nominal: float) -> float | None:
    """Return the mean width of one central interval; ``None`` where the levels do not have its ends."""
    ends = _ends(outcome, data, nominal)

    return None if ends is None else float(np.mean(ends[1] - ends[0]))


def _ends(outcome: Outcome, data: QuantileData, nominal: float) -> tuple[np.ndarray, np.ndarray] | None:
    quantiles = _finite(outcome.quantiles)
    for i, j in central_pairs(data.levels):
        if abs(1 - 2 * data.levels[i] - nominal) < SAME_LEVEL:
            return quantiles[:, i], quantiles[:, j]

    return None


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise TrialDiverged("the method's quantiles are not finite")

    return values


pinball_5 = partial(_pinball_at, level=0.05)
pinball_10 = partial(_pinball_at, level=0.1)
pinball_20 = partial(_pinball_at, level=0.2)
pinball_30 = partial(_pinball_at, level=0.3)
pinball_40 = partial(_pinball_at, level=0.4)
pinball_50 = partial(_pinball_at, level=0.5)
pinball_60 = partial(_pinball_at, level=0.6)
pinball_70 = partial(_pinball_at, level=0.7)
pinball_80 = partial(_pinball_at, level=0.8)
pinball_90 = partial(_pinball_at, level=0.9)
pinball_95 = partial(_pinball_at, level=0.95)
coverage_20 = partial(_coverage_at, nominal=0.2)
coverage_40 = partial(_coverage_at, nominal=0.4)
coverage_60 = partial(_coverage_at, nominal=0.6)
coverage_80 = partial(_coverage_at, nominal=0.8)
coverage_90 = partial(_coverage_at, nominal=0.9)
coverage_98 = partial(_coverage_at, nominal=0.98)
width_20 = partial(_width_at, nominal=0.2)
width_40 = partial(_width_at, nominal=0.4)
width_60 = partial(_width_at, nominal=0.6)
width_80 = partial(_width_at, nominal=0.8)
width_90 = partial(_width_at, nominal=0.9)
width_98 = partial(_width_at, nominal=0.98)
