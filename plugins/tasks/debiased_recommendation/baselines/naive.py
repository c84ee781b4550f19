"""The naive method: the mean loss of what is observed, as if it had been drawn by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plugins.tasks.debiased_recommendation.rating_losses import errors
from plugins.tasks.debiased_recommendation.rating_models import RatingBatch, fit_ratings_by_loss

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings
    from plugins.tasks.debiased_recommendation.rating_models import RatingFit

__all__ = ["Naive"]


@dataclass
class Naive:
    """Minimise the mean cross entropy of the observed ratings: common practice."""

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train one backbone; every rating weighs the same."""

        def loss(logits: Tensor, batch: RatingBatch) -> Tensor:
            return errors(logits, batch.labels).mean()

        return fit_ratings_by_loss(data, run, loss, torch.ones(len(data.train)))
