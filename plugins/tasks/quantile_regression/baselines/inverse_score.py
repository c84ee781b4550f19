"""Weights by one over the validation loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugins.tasks.quantile_regression.baselines.average import WeightedMean
from plugins.tasks.quantile_regression.baselines.best_single import validation_losses

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantile_regression.protocol import QuantileView

__all__ = ["InverseScore"]


@dataclass
class InverseScore:
    """Weigh each base model by one over its pinball loss on the validation part, for all levels alike; common practice."""

    def fit(self, data: QuantileView, run: Run) -> WeightedMean:
        """Score."""
        weights = 1 / validation_losses(data)

        return WeightedMean(weights / weights.sum())
