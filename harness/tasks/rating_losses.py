"""Moved to plugins.tasks.debiased_recommendation.rating_losses; this path goes with version 0.3."""

import warnings

from plugins.tasks.debiased_recommendation.rating_losses import (
    Predicted,
    direct_loss,
    doubly_robust_loss,
    errors,
    fit_doubly_robust,
    imputation_loss,
    inverse_propensity_loss,
    self_normalised_loss,
)

__all__ = [
    "Predicted",
    "direct_loss",
    "doubly_robust_loss",
    "errors",
    "fit_doubly_robust",
    "imputation_loss",
    "inverse_propensity_loss",
    "self_normalised_loss",
]

warnings.warn(
    "harness.tasks.rating_losses has moved to plugins.tasks.debiased_recommendation.rating_losses; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
