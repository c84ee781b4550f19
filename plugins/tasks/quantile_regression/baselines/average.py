"""The mean over the base models, level by level (Vincentisation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plugins.tasks.quantile_regression.protocol import Prediction, sorted_prediction

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantile_regression.protocol import QuantileView

__all__ = ["Average", "WeightedMean"]


class WeightedMean:
    """
    A fixed mean over the base models.

    Args:
        weights: ``(p,)``, of sum 1.
    """

    def __init__(self, weights: np.ndarray) -> None:
        self._weights = weights

    def predict(self, x: np.ndarray, base: np.ndarray) -> Prediction:
        """Average and sort."""
        return sorted_prediction(np.einsum("npm,p->nm", base.astype(np.float64), self._weights))


@dataclass
class Average:
    """Average the quantiles of all base models with equal weights; common practice."""

    def fit(self, data: QuantileView, run: Run) -> WeightedMean:
        """Learn nothing."""
        p = len(data.require_base().names)

        return WeightedMean(np.full(p, 1 / p))
