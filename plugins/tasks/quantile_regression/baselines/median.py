"""The median over the base models, level by level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plugins.tasks.quantile_regression.protocol import Prediction, sorted_prediction

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantile_regression.protocol import QuantileView

__all__ = ["Median"]


@dataclass
class Median:
    """Take the median of the quantiles of all base models; common practice."""

    def fit(self, data: QuantileView, run: Run) -> Median:
        """Learn nothing."""
        data.require_base()

        return self

    def predict(self, x: np.ndarray, base: np.ndarray) -> Prediction:
        """Take the median and sort."""
        return sorted_prediction(np.median(base.astype(np.float64), axis=1))
