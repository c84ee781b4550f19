"""Moved to plugins.tasks.quantile_regression.base_models; this path goes with version 0.3."""

import warnings

from plugins.tasks.quantile_regression.base_models import (
    FOREST_GRID,
    GRIDS,
    LIGHTGBM_GRID,
    LOWEST_LEVEL,
    NETWORK_GRID,
    VARIANCE_FLOOR,
    BaseModelName,
    BaseModelSettings,
    Network,
    Predict,
    Rows,
    Values,
    fit_base_model,
    gaussian_nll,
    gaussian_quantiles,
    train_steps,
)

__all__ = [
    "FOREST_GRID",
    "GRIDS",
    "LIGHTGBM_GRID",
    "LOWEST_LEVEL",
    "NETWORK_GRID",
    "VARIANCE_FLOOR",
    "BaseModelName",
    "BaseModelSettings",
    "Network",
    "Predict",
    "Rows",
    "Values",
    "fit_base_model",
    "gaussian_nll",
    "gaussian_quantiles",
    "train_steps",
]

warnings.warn(
    "harness.tasks.quantile_base_models has moved to plugins.tasks.quantile_regression.base_models; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
