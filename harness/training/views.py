"""Moved to plugins.tasks.semi_supervised.views; this path goes with version 0.3."""

import warnings

from plugins.tasks.semi_supervised.views import (
    STRONG,
    WEAK,
    Deformation,
    DigitViews,
    PictureViews,
    Views,
    crop_reflected,
    deform,
    drop_features,
)
from plugins.tasks.semi_supervised.views import FeatureViews as WordViews

__all__ = ["STRONG", "WEAK", "Deformation", "DigitViews", "PictureViews", "Views", "WordViews", "crop_reflected", "deform", "drop_features"]

warnings.warn(
    "harness.training.views has moved to plugins.tasks.semi_supervised.views; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
