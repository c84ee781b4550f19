"""Moved to plugins.tasks.semi_supervised.rand_augment; this path goes with version 0.3."""

import warnings

from plugins.tasks.semi_supervised.rand_augment import (
    GREY,
    LEVELS,
    OPERATIONS,
    auto_contrast,
    cut_out,
    rand_augment,
    rotate,
    shear,
    translate,
)

__all__ = ["GREY", "LEVELS", "OPERATIONS", "auto_contrast", "cut_out", "rand_augment", "rotate", "shear", "translate"]

warnings.warn(
    "harness.training.rand_augment has moved to plugins.tasks.semi_supervised.rand_augment; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
