"""The base model that is best on the validation part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plugins.tasks.quantile_regression.baselines.average import WeightedMean
from plugins.tasks.quantile_regression.quantiles import pinball_array

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantile_regression.protocol import QuantileView

__all__ = ["BestSingle", "validation_losses"]


def validation_losses(data: QuantileView) -> np.ndarray:
    """Return the mean pinball loss of each base model, sorted, on the validation part, ``(p,)``."""
    base = np.sort(data.require_base().valid.astype(np.float64), axis=2)

    return np.array([pinball_array(base[:, j], data.valid.y, data.levels).mean() for j in range(base.shape[1])])


@dataclass
class BestSingle:
    """Predict as the base model of the smallest pinball loss on the validation part does; common practice."""

    def fit(self, data: QuantileView, run: Run) -> WeightedMean:
        """Choose."""
        losses = validation_losses(data)

        return WeightedMean(np.eye(len(losses))[losses.argmin()])
