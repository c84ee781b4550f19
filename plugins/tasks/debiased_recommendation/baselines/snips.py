"""Self-normalised inverse propensity scoring (Schnabel et al. 2016): the weights of each batch are divided by their sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from plugins.tasks.debiased_recommendation.propensities import naive_bayes, normalised
from plugins.tasks.debiased_recommendation.rating_losses import self_normalised_loss
from plugins.tasks.debiased_recommendation.rating_models import RatingBatch, fit_ratings_by_loss

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings
    from plugins.tasks.debiased_recommendation.rating_models import RatingFit

__all__ = ["SelfNormalised"]


@dataclass
class SelfNormalised:
    """Minimise ``sum_B w e / sum_B w`` with naive Bayes propensities."""

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train one backbone."""
        weights = normalised(1 / naive_bayes(data))
        on_device = weights.to(run.device)

        def loss(logits: Tensor, batch: RatingBatch) -> Tensor:
            return self_normalised_loss(logits, batch.labels, on_device[batch.index])

        return fit_ratings_by_loss(data, run, loss, weights)
