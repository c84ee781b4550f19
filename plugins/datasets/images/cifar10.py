"""Moved to plugins.data.images.cifar10; this path goes with version 0.3."""

import warnings

from plugins.data.images.cifar10 import CIFAR10, CLASSES, TEST_BATCH, TRAIN_BATCHES, read_png_batches, read_python_batches

__all__ = ["CIFAR10", "CLASSES", "TEST_BATCH", "TRAIN_BATCHES", "read_png_batches", "read_python_batches"]

warnings.warn(
    "plugins.datasets.images.cifar10 has moved to plugins.data.images.cifar10; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
