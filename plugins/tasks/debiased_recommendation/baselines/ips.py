"""Inverse propensity scoring (Schnabel et al. 2016): each observed rating weighs the inverse of how likely it was to be observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from plugins.tasks.debiased_recommendation.propensities import bias_propensities, naive_bayes, normalised, true_propensities
from plugins.tasks.debiased_recommendation.rating_losses import inverse_propensity_loss
from plugins.tasks.debiased_recommendation.rating_models import RatingBatch, fit_ratings_by_loss

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings
    from plugins.tasks.debiased_recommendation.rating_models import RatingFit

__all__ = ["InversePropensity", "LogisticInversePropensity", "OracleInversePropensity"]


@dataclass
class InversePropensity:
    """Weigh by naive Bayes propensities, which depend on the label alone and need a small unbiased sample."""

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train one backbone on ``mean_B w e``."""
        return _fit(data, run, 1 / naive_bayes(data))


@dataclass
class LogisticInversePropensity:
    """Weigh by propensities that depend on how much a user rates and how often an item is rated; they need no unbiased sample."""

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Fit the propensities, then train one backbone on ``mean_B w e``."""
        return _fit(data, run, 1 / bias_propensities(data.train, data.n_users, data.n_items))


@dataclass
class OracleInversePropensity:
    """Weigh by the true propensities: what no method can know, and an upper bound for those that guess them."""

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train one backbone on ``mean_B w e``."""
        return _fit(data, run, 1 / true_propensities(data))


def _fit(data: ObservedRatings, run: Run, inverse: Tensor) -> RatingFit:
    weights = normalised(inverse)
    on_device = weights.to(run.device)

    def loss(logits: Tensor, batch: RatingBatch) -> Tensor:
        return inverse_propensity_loss(logits, batch.labels, on_device[batch.index])

    return fit_ratings_by_loss(data, run, loss, weights)
