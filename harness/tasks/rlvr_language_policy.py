"""Moved to plugins.tasks.rlvr.language_policy; this path goes with version 0.3."""

import warnings

from plugins.tasks.rlvr.language_policy import LanguagePolicy

__all__ = ["LanguagePolicy"]

warnings.warn(
    "harness.tasks.rlvr_language_policy has moved to plugins.tasks.rlvr.language_policy; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
