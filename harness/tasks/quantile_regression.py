"""Moved to plugins.tasks.quantile_regression.protocol; this path goes with version 0.3."""

import warnings

from plugins.tasks.quantile_regression.protocol import (
    PARTS,
    BasePredictions,
    Outcome,
    Prediction,
    QuantileData,
    QuantileMethod,
    QuantileModel,
    QuantileRegressionProtocol,
    QuantileView,
    sorted_prediction,
)

__all__ = [
    "PARTS",
    "BasePredictions",
    "Outcome",
    "Prediction",
    "QuantileData",
    "QuantileMethod",
    "QuantileModel",
    "QuantileRegressionProtocol",
    "QuantileView",
    "sorted_prediction",
]

warnings.warn(
    "harness.tasks.quantile_regression has moved to plugins.tasks.quantile_regression.protocol; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
