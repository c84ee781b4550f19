"""The share of the rare class: what a forecast without features can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plugins.tasks.rare_events.protocol import Forecast

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = ["Constant", "ConstantModel"]


@dataclass(frozen=True)
class ConstantModel:
    """
    The same forecast everywhere.

    Args:
        shares: ``(K,)``, of the classes.
    """

    shares: np.ndarray

    def predict(self, x: np.ndarray) -> Forecast:
        """Predict the shares of the classes for each of ``(n, p)`` points."""
        classes = np.tile(self.shares, (len(x), 1))

        return Forecast(rare=classes[:, -1], classes=classes)


@dataclass
class Constant:
    """Predict the frequencies of the training set; common practice."""

    def fit(self, data: OrdinalTraining, run: Run) -> ConstantModel:
        """Count."""
        return ConstantModel(np.bincount(data.y, minlength=data.n_classes) / len(data.y))
