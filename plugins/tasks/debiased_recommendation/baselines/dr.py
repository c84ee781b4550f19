"""Doubly robust learning with an imputation model that is trained beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plugins.tasks.debiased_recommendation.propensities import naive_bayes, normalised
from plugins.tasks.debiased_recommendation.rating_losses import doubly_robust_loss, errors
from plugins.tasks.debiased_recommendation.rating_models import (
    NetworkPredictor,
    PairSampler,
    RatingBatch,
    RatingFit,
    fit_ratings,
    train_network,
)

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings

__all__ = ["DoublyRobust"]


@dataclass
class DoublyRobust:
    """
    Minimise ``mean_B w (e - e~) + mean_A e~`` with naive Bayes propensities; a naive model, trained first, imputes the labels.

    Args:
        weighted_correction: Whether the subtracted imputed errors carry the weights, as the doubly robust estimator has them; the released code leaves
            them out.
    """

    weighted_correction: bool = True

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train the imputation model for the epochs of the budget, then the prediction model for as many."""
        recipe = data.recipe
        weights = normalised(1 / naive_bayes(data))
        on_device = weights.to(run.device)

        def naive_loss(logits: Tensor, batch: RatingBatch) -> Tensor:
            return errors(logits, batch.labels).mean()

        imputation = recipe.build_backbone(data, run, "init_imputation")
        train_network(imputation, data, run, naive_loss, "imputation_loss", "batches_imputation")
        prediction = recipe.build_backbone(data, run)
        optimizer = recipe.build_optimizer(prediction)
        sampler = PairSampler(data, run)

        def step(batch: RatingBatch) -> Tensor:
            pairs = sampler.draw(recipe.sampled_per_observed * len(batch))
            with torch.no_grad():
                imputed, imputed_sampled = torch.sigmoid(imputation(batch)), torch.sigmoid(imputation(pairs))
            w = on_device[batch.index]
            correction = None if self.weighted_correction else torch.ones_like(w)
            loss = doubly_robust_loss(prediction(batch), batch.labels, imputed, w, prediction(pairs), imputed_sampled, correction)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.count(forward=2 * (len(batch) + len(pairs)), backward=len(batch) + len(pairs))

            return loss

        fit_ratings(data, run, step)

        return RatingFit(NetworkPredictor(prediction, run.device), weights)
