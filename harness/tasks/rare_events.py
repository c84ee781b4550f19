"""Moved to plugins.tasks.rare_events.protocol; this path goes with version 0.3."""

import warnings

from plugins.tasks.rare_events.protocol import (
    VALIDATION_SHARE,
    Forecast,
    OrdinalSet,
    OrdinalTraining,
    Outcome,
    RareEventMethod,
    RareEventModel,
    RareEvents,
    RareEventsProtocol,
    check_data,
)

__all__ = [
    "VALIDATION_SHARE",
    "Forecast",
    "OrdinalSet",
    "OrdinalTraining",
    "Outcome",
    "RareEventMethod",
    "RareEventModel",
    "RareEvents",
    "RareEventsProtocol",
    "check_data",
]

warnings.warn(
    "harness.tasks.rare_events has moved to plugins.tasks.rare_events.protocol; this path goes with version 0.3",
    DeprecationWarning,
    stacklevel=2,
)
