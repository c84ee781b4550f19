"""Moved to plugins.tasks.noisy_labels.loop; this path goes with version 0.3."""

import warnings

from plugins.tasks.noisy_labels.loop import Batch, Step, TrainingData, build_network, fit_by_loss, fit_epochs, sample_batch

__all__ = ["Batch", "Step", "TrainingData", "build_network", "fit_by_loss", "fit_epochs", "sample_batch"]

warnings.warn(
    "harness.training.loop has moved to plugins.tasks.noisy_labels.loop; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
