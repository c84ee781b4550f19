"""Error imputation (Steck 2010): a second model guesses the errors of all pairs, and the prediction model minimises the guesses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from plugins.tasks.debiased_recommendation.rating_losses import direct_loss, imputation_loss
from plugins.tasks.debiased_recommendation.rating_models import NetworkPredictor, PairSampler, RatingBatch, RatingFit, fit_ratings

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings

__all__ = ["ErrorImputation"]


@dataclass
class ErrorImputation:
    """Minimise ``mean_A e~``, the imputation model ``sum_B (e - e^)^2``: common practice before doubly robust estimators."""

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train both models in turn; observed ratings have no weights."""
        recipe = data.recipe
        prediction, imputation = recipe.build_backbone(data, run), recipe.build_backbone(data, run, "init_imputation")
        move_prediction, move_imputation = recipe.build_optimizer(prediction), recipe.build_optimizer(imputation)
        sampler = PairSampler(data, run)

        def step(batch: RatingBatch) -> Tensor:
            pairs = sampler.draw(recipe.sampled_per_observed * len(batch))
            with torch.no_grad():
                imputed = torch.sigmoid(imputation(pairs))
            loss = direct_loss(prediction(pairs), imputed)
            move_prediction.zero_grad()
            loss.backward()
            move_prediction.step()

            with torch.no_grad():
                logits = prediction(batch)
            distance = imputation_loss(imputation(batch), logits, batch.labels, torch.ones_like(batch.labels))
            move_imputation.zero_grad()
            distance.backward()
            move_imputation.step()
            run.count(forward=2 * (len(batch) + len(pairs)), backward=len(batch) + len(pairs))

            return loss

        fit_ratings(data, run, step)

        return RatingFit(NetworkPredictor(prediction, run.device))
