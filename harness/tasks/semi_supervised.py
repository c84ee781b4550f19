"""Moved to plugins.tasks.semi_supervised.protocol; this path goes with version 0.3."""

import warnings

from plugins.tasks.semi_supervised.protocol import (
    GUESS_FIELDS,
    Outcome,
    SemiSupervised,
    SemiSupervisedDataset,
    SemiSupervisedMethod,
    SemiSupervisedProtocol,
    check_data,
)

__all__ = [
    "GUESS_FIELDS",
    "Outcome",
    "SemiSupervised",
    "SemiSupervisedDataset",
    "SemiSupervisedMethod",
    "SemiSupervisedProtocol",
    "check_data",
]

warnings.warn(
    "harness.tasks.semi_supervised has moved to plugins.tasks.semi_supervised.protocol; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
