"""Quantile regression averaging: each level of the response is regressed on the base predictions at that level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from harness import TrialDiverged
from plugins.tasks.quantile_regression.baselines.linear import linear_quantile_regression
from plugins.tasks.quantile_regression.protocol import Prediction, sorted_prediction

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantile_regression.protocol import QuantileView

__all__ = ["QuantileRegressionAveraging", "level_coefficients", "simplex_weights"]


def level_coefficients(base: np.ndarray, y: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """
    Return the coefficients of :func:`linear_quantile_regression` of ``y`` on the inputs at each level.

    Args:
        base: ``(n, p, m)``.
        y: ``(n,)``.
        levels: ``(m,)``.

    Returns:
        ``(m, 1 + p)``, the intercept first.
    """
    return np.concatenate([linear_quantile_regression(base[:, :, k], y, levels[k : k + 1]) for k in range(len(levels))])


def simplex_weights(base: np.ndarray, y: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """
    Minimise the mean pinball loss of a convex combination at each level: weights of at least 0 and sum 1, no intercept.

    This is the optimum of the global medium aggregation without a penalty. Its linear program has the weights, and the shortfall and the excess of every
    row, as variables.

    Args:
        base: ``(n, p, m)``.
        y: ``(n,)``.
        levels: ``(m,)``.

    Returns:
        ``(m, p)``.

    Raises:
        TrialDiverged: The solver finds no optimum.
    """
    n, p, m = base.shape
    rows = sparse.hstack([sparse.eye_array(n), -sparse.eye_array(n)])
    sum_to_one = sparse.csr_array(np.concatenate([np.ones(p), np.zeros(2 * n)])[None])
    weights = []
    for k in range(m):
        equal = sparse.vstack([sparse.hstack([sparse.csr_array(base[:, :, k]), rows]), sum_to_one], format="csc")
        cost = np.concatenate([np.zeros(p), np.full(n, levels[k]), np.full(n, 1 - levels[k])])
        solved = linprog(cost, A_eq=equal, b_eq=np.append(y, 1), bounds=(0, None), method="highs")
        if solved.status != 0:
            raise TrialDiverged(f"the linear program of level {levels[k]:g} has no solution: {solved.message}")
        weights.append(solved.x[:p])

    return np.array(weights)


class LevelWise:
    """
    A linear combination of the inputs at each level.

    Args:
        coefficients: ``(m, 1 + p)``, the intercept first.
    """

    def __init__(self, coefficients: np.ndarray) -> None:
        self._coefficients = coefficients

    def predict(self, x: np.ndarray, base: np.ndarray) -> Prediction:
        """Combine and sort."""
        slopes = np.einsum("npm,mp->nm", base.astype(np.float64), self._coefficients[:, 1:])

        return sorted_prediction(self._coefficients[:, 0] + slopes)


@dataclass
class QuantileRegressionAveraging:
    """
    Regress on the out-of-fold base predictions, one exact linear program a level.

    Args:
        weights: ``free`` coefficients with an intercept, as published; ``simplex`` for a convex combination.
    """

    weights: Literal["free", "simplex"] = "free"

    def fit(self, data: QuantileView, run: Run) -> LevelWise:
        """Solve on the training part; validation rows are not used."""
        base = data.require_base().train.astype(np.float64)
        if self.weights == "free":
            return LevelWise(level_coefficients(base, data.train.y, data.levels))
        convex = simplex_weights(base, data.train.y, data.levels)

        return LevelWise(np.column_stack([np.zeros(len(convex)), convex]))
