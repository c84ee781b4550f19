"""The quantiles of the training responses: what can be said without looking at the attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plugins.tasks.quantile_regression.protocol import Prediction

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantile_regression.protocol import QuantileView

__all__ = ["MarginalQuantiles"]


@dataclass
class MarginalQuantiles:
    """Predict the same quantiles for every row; common practice, the floor of every table."""

    def fit(self, data: QuantileView, run: Run) -> _Constant:
        """Take the quantiles of the training responses, interpolated between neighbours."""
        return _Constant(np.quantile(data.train.y, data.levels))


class _Constant:
    def __init__(self, quantiles: np.ndarray) -> None:
        self._quantiles = quantiles

    def predict(self, x: np.ndarray, base: np.ndarray | None) -> Prediction:
        """Repeat them."""
        repeated = np.tile(self._quantiles, (len(x), 1))

        return Prediction(repeated, repeated)
