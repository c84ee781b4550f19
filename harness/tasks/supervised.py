"""Moved to plugins.tasks.supervised.protocol and harness.training.image_data; this path goes with version 0.3."""

import warnings

from harness.training.image_data import ImageData, checked_logits
from plugins.tasks.supervised.protocol import NEAR_ZERO, ImageView, Outcome, SupervisedMethod, SupervisedProtocol

__all__ = ["NEAR_ZERO", "ImageData", "ImageView", "Outcome", "SupervisedMethod", "SupervisedProtocol", "checked_logits"]

warnings.warn(
    "harness.tasks.supervised has moved to plugins.tasks.supervised.protocol and harness.training.image_data; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
