"""Moved to plugins.tasks.noisy_labels.protocol; this path goes with version 0.3."""

import warnings

from plugins.tasks.noisy_labels.protocol import NoisyDataset, NoisyLabelMethod, NoisyLabels, NoisyLabelsProtocol, Outcome

__all__ = ["NoisyDataset", "NoisyLabelMethod", "NoisyLabels", "NoisyLabelsProtocol", "Outcome"]

warnings.warn(
    "harness.tasks.noisy_labels has moved to plugins.tasks.noisy_labels.protocol; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
