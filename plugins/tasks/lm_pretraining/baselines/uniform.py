"""No weighting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugins.tasks.lm_pretraining.protocol import pretrain

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_pretraining.protocol import PretrainingView, Trained

__all__ = ["Uniform"]


@dataclass
class Uniform:
    """Minimise the mean loss over all tokens of the batch: common practice."""

    def fit(self, data: PretrainingView, run: Run) -> Trained:
        """Train the model."""
        return pretrain(data, run)
