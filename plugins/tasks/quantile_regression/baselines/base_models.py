"""The base models as methods of their own: the very models whose predictions the aggregators combine, fitted on the training part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from plugins.tasks.quantile_regression.base_models import BaseModelName, search_base_model
from plugins.tasks.quantile_regression.protocol import Prediction, sorted_prediction

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness import Run
    from plugins.tasks.quantile_regression.protocol import QuantileView

__all__ = ["ExtraTrees", "GaussianNetwork", "JointNetwork", "LightGBM", "QuantileForest", "SimultaneousNetwork"]


class _Sorted:
    def __init__(self, predict: Callable[[np.ndarray], np.ndarray]) -> None:
        self._predict = predict

    def predict(self, x: np.ndarray, base: np.ndarray | None) -> Prediction:
        """Predict in single precision, as base predictions are stored, and sort."""
        return sorted_prediction(self._predict(x).astype(np.float32).astype(np.float64))


@dataclass
class GaussianNetwork:
    """Mean and variance of a normal distribution from a network, by maximum likelihood; common practice. The protocol has its settings."""

    model: ClassVar[BaseModelName] = "gaussian_network"

    def fit(self, data: QuantileView, run: Run) -> _Sorted:
        """Fit the base model, with the streams that it has as one."""
        return _Sorted(search_base_model(self.model, data.train, data.valid, data.levels, data.recipe, run).predict)


@dataclass
class SimultaneousNetwork(GaussianNetwork):
    """A network on attributes and level, trained at a random level for each sample (SQR, arXiv:1811.00908)."""

    model: ClassVar[BaseModelName] = "simultaneous_network"


@dataclass
class JointNetwork(GaussianNetwork):
    """A network with one output a level (DQR), made monotone by isotonic regression after training; common practice."""

    model: ClassVar[BaseModelName] = "joint_network"


@dataclass
class QuantileForest(GaussianNetwork):
    """A quantile regression forest (Meinshausen 2006) of the package `quantile-forest`."""

    model: ClassVar[BaseModelName] = "quantile_forest"


@dataclass
class ExtraTrees(GaussianNetwork):
    """Extremely randomised trees with the same weighing of leaves, of the package `quantile-forest`."""

    model: ClassVar[BaseModelName] = "extra_trees"


@dataclass
class LightGBM(GaussianNetwork):
    """One gradient-boosted ensemble for each level, of the package `lightgbm`."""

    model: ClassVar[BaseModelName] = "lightgbm"
