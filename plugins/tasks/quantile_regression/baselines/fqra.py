"""Factor quantile regression averaging: quantile regression averaging on the principal components of the base predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plugins.tasks.quantile_regression.baselines.qra import LevelWise, level_coefficients
from plugins.tasks.quantile_regression.protocol import Prediction
from plugins.tasks.quantile_regression.quantiles import pinball_array

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantile_regression.protocol import QuantileView

__all__ = ["FactorQuantileRegressionAveraging", "Factors", "principal_factors"]


@dataclass(frozen=True)
class Factors:
    """
    Principal components of the base predictions at each level.

    Args:
        centre: ``(p, m)``, the means that are subtracted first.
        directions: ``(r, p, m)``, of unit length, the direction of the largest variance first.
    """

    centre: np.ndarray
    directions: np.ndarray

    def of(self, base: np.ndarray, count: int) -> np.ndarray:
        """Return the leading ``count`` components of predictions ``(n, p, m)``: ``(n, count, m)``."""
        return np.einsum("npm,rpm->nrm", base - self.centre, self.directions[:count])


def principal_factors(base: np.ndarray) -> Factors:
    """Return the principal components of ``(n, p, m)`` over the models, at each level by itself."""
    centre = base.mean(axis=0)
    directions = [np.linalg.svd(base[:, :, k] - centre[:, k], full_matrices=False)[2] for k in range(base.shape[2])]

    return Factors(centre, np.stack(directions, axis=2))


@dataclass
class FactorQuantileRegressionAveraging:
    """
    Regress on the leading principal components of the out-of-fold base predictions.

    Their number, the same for all levels, is the one of the smallest pinball loss on the validation part.
    """

    def fit(self, data: QuantileView, run: Run) -> _OnFactors:
        """Try every number of components."""
        base = data.require_base()
        train, valid = base.train.astype(np.float64), base.valid.astype(np.float64)
        factors = principal_factors(train)
        candidates, losses = [], []
        for count in range(1, len(factors.directions) + 1):
            model = _OnFactors(factors, count, LevelWise(level_coefficients(factors.of(train, count), data.train.y, data.levels)))
            candidates.append(model)
            losses.append(pinball_array(model.predict(data.valid.x, valid).quantiles, data.valid.y, data.levels).mean())

        return candidates[int(np.argmin(losses))]


class _OnFactors:
    def __init__(self, factors: Factors, count: int, model: LevelWise) -> None:
        self._factors = factors
        self._count = count
        self._model = model

    def predict(self, x: np.ndarray, base: np.ndarray) -> Prediction:
        """Project, combine and sort."""
        return self._model.predict(x, self._factors.of(base.astype(np.float64), self._count))
