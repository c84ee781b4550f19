"""Moved to plugins.tasks.lm_finetuning.datasets.copy_digits; this path goes with version 0.3."""

import warnings

from plugins.tasks.lm_finetuning.datasets.copy_digits import BYTES, CopyDigits

__all__ = ["BYTES", "CopyDigits"]

warnings.warn(
    "plugins.datasets.lm_finetuning.copy_digits has moved to plugins.tasks.lm_finetuning.datasets.copy_digits; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
