"""Moved to plugins.tasks.semi_supervised.views; this path goes with version 0.3."""

import warnings

from plugins.tasks.semi_supervised.views import (
    STRONG,
    WEAK,
    Deformation,
    DigitViews,
    FeatureViews,
    PictureViews,
    Views,
    crop_reflected,
    deform,
    drop_features,
)

__all__ = [
    "STRONG",
    "WEAK",
    "Deformation",
    "DigitViews",
    "FeatureViews",
    "PictureViews",
    "Views",
    "crop_reflected",
    "deform",
    "drop_features",
]

WordViews = FeatureViews  # its name when it moved

warnings.warn(
    "harness.training.views has moved to plugins.tasks.semi_supervised.views; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
