"""Conformal calibration of central intervals: split CQR and CV+, from their formulas."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = ["Interval", "conformity_scores", "cqr_shift", "cv_plus_interval"]

ROUNDING = 9  # digits: (n + 1)(1 - alpha) is a whole number more often than doubles say


class Interval(NamedTuple):
    """Lower and upper ends, ``(k,)`` each."""

    lower: np.ndarray
    upper: np.ndarray


def conformity_scores(lower: np.ndarray, upper: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return ``max(l - y, y - u)``, ``(n,)``: how far a response lies outside of its interval, negative inside."""
    scores: np.ndarray = np.maximum(lower - y, y - upper)

    return scores


def cqr_shift(scores: np.ndarray, alpha: float) -> float:
    """
    Return by how much both ends move outwards so that a new response is covered with a probability of at least ``1 - alpha``.

    The ``ceil((n + 1)(1 - alpha))``-th smallest score (Romano et al. 2019, arXiv:1905.03222).

    Args:
        scores: ``(n,)``, of rows that neither fitting nor choosing saw.
        alpha: In (0, 1).

    Raises:
        ValueError: There are too few scores for this ``alpha``.
    """
    rank = math.ceil(round((len(scores) + 1) * (1 - alpha), ROUNDING))
    if rank > len(scores):
        raise ValueError(_too_few(len(scores), alpha))

    return float(np.sort(scores)[rank - 1])


def cv_plus_interval(lower: np.ndarray, upper: np.ndarray, scores: np.ndarray, alpha: float) -> Interval:
    """
    Return the CV+ interval of new rows (Barber et al. 2021, arXiv:1905.02928); it covers with a probability of about ``1 - alpha``, at least ``1 - 2 alpha``.

    Args:
        lower: ``(n, k)``: for the k new rows the lower end by the model that did not see training row i.
        upper: ``(n, k)``, likewise.
        scores: ``(n,)``, out of fold.
        alpha: In (0, 1).

    Raises:
        ValueError: There are too few scores for this ``alpha``.
    """
    n = len(scores)
    first, last = math.floor(round(alpha * (n + 1), ROUNDING)), math.ceil(round((1 - alpha) * (n + 1), ROUNDING))
    if first < 1 or last > n:
        raise ValueError(_too_few(n, alpha))

    return Interval(
        np.partition(lower - scores[:, None], first - 1, axis=0)[first - 1],
        np.partition(upper + scores[:, None], last - 1, axis=0)[last - 1],
    )


def _too_few(n: int, alpha: float) -> str:
    return f"{n} rows are too few to calibrate the interval from level {alpha / 2:g} to {1 - alpha / 2:g}: at least {math.ceil(1 / alpha) - 1} are needed"
