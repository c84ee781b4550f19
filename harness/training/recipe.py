"""Moved to plugins.tasks.noisy_labels.recipe and harness.training.seeding; this path goes with version 0.3."""

import warnings

from harness.training.seeding import build_seeded
from plugins.tasks.noisy_labels.recipe import Recipe

__all__ = ["Recipe", "build_seeded"]

warnings.warn(
    "harness.training.recipe has moved to plugins.tasks.noisy_labels.recipe and harness.training.seeding; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
