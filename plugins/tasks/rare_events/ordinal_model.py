"""What a fitted cumulative logit model predicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plugins.tasks.rare_events.likelihood import class_probabilities
from plugins.tasks.rare_events.protocol import Forecast

__all__ = ["OrdinalModel"]


@dataclass(frozen=True)
class OrdinalModel:
    """
    A cumulative logit model that predicts as the task asks.

    Args:
        intercepts: ``(q,)``.
        weights: ``(p, q)``.
    """

    intercepts: np.ndarray
    weights: np.ndarray

    def predict(self, x: np.ndarray) -> Forecast:
        """Predict all classes; the last one's probability is never negative, the others' may be."""
        classes = class_probabilities(self.intercepts + x @ self.weights)

        return Forecast(rare=classes[:, -1], classes=classes)
