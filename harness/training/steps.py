"""Moved to plugins.tasks.semi_supervised.steps and harness.training.normalisation; this path goes with version 0.3."""

import warnings

from harness.training.normalisation import frozen_statistics
from plugins.tasks.semi_supervised.steps import (
    POINTS,
    REMEMBERED,
    VIEWED_AT_ONCE,
    Guesses,
    SemiSupervisedFit,
    StepBatch,
    StepRecipe,
    StepView,
    Training,
    ramp,
)

__all__ = [
    "POINTS",
    "REMEMBERED",
    "VIEWED_AT_ONCE",
    "Guesses",
    "SemiSupervisedFit",
    "StepBatch",
    "StepRecipe",
    "StepView",
    "Training",
    "frozen_statistics",
    "ramp",
]

warnings.warn(
    "harness.training.steps has moved to plugins.tasks.semi_supervised.steps and harness.training.normalisation; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
