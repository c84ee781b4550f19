"""Targeted doubly robust joint learning (Li et al. 2023): the imputed errors are corrected along 1 / p - 1, which lowers the estimator's variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from harness import Search
from plugins.tasks.debiased_recommendation.propensities import naive_bayes, normalised
from plugins.tasks.debiased_recommendation.rating_losses import doubly_robust_loss, errors
from plugins.tasks.debiased_recommendation.rating_models import NetworkPredictor, PairSampler, RatingBatch, RatingFit, fit_ratings

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings

__all__ = ["TDRJL", "target", "targeted_imputation_loss", "targeting_coefficient"]


def targeting_coefficient(errors: Tensor, imputed_errors: Tensor, inverse: Tensor) -> Tensor:
    """
    Return ``epsilon = sum_O (e - e^) d / sum_O d^2`` with ``d = 1 / p - 1``: the least squares of what the imputation misses on d.

    Of all observed pairs, it makes the doubly robust estimate that of imputation alone. It is 0 where every pair is sure to be observed.

    Args:
        errors: ``(n,)``, e of observed pairs.
        imputed_errors: ``(n,)``, e^.
        inverse: ``(n,)``, ``1 / p``, at least 1.

    Returns:
        A scalar.
    """
    d = inverse - 1

    return ((errors - imputed_errors) * d).sum() / (d**2).sum().clamp(min=torch.finfo(d.dtype).tiny)


def target(imputed_errors: Tensor, inverse: Tensor, epsilon: Tensor) -> Tensor:
    """Return ``e^ + epsilon (1 / p - 1)``, ``(n,)``, of any pairs; may be negative."""
    return imputed_errors + epsilon * (inverse - 1)


def targeted_imputation_loss(errors: Tensor, imputed_errors: Tensor, inverse: Tensor, epsilon: Tensor) -> Tensor:
    """Return ``sum_B (e - e^ - epsilon (1 / p - 1))^2 / p``, where the imputation learns what targeting leaves."""
    return (inverse * (errors - target(imputed_errors, inverse, epsilon)) ** 2).sum()


@dataclass
class TDRJL:
    """
    Doubly robust joint learning whose imputation minimises :func:`targeted_imputation_loss`.

    In the prediction loss the correction is a constant, so that its gradient is that of doubly robust joint learning.

    Args:
        least_propensity: Naive Bayes propensities are raised to it: the smallest ones decide the coefficient.
    """

    least_propensity: Annotated[float, Gt(0), Le(1), Search(0.01, 0.2, log=True)] = 0.1

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train both models in turn; the coefficient is that of all observed pairs at the start of each epoch."""
        recipe = data.recipe
        inverse = 1 / naive_bayes(data).clamp(min=self.least_propensity)
        weights = normalised(inverse)
        inverse_on_device, weights_on_device = inverse.to(run.device), weights.to(run.device)
        train = data.train.to(run.device)
        prediction, imputation = recipe.build_backbone(data, run), recipe.build_backbone(data, run, "init_imputation")
        move_prediction, move_imputation = recipe.build_optimizer(prediction), recipe.build_optimizer(imputation)
        sampler = PairSampler(data, run)
        coefficients: list[Tensor] = []  # one for each epoch

        @torch.no_grad()
        def coefficient() -> Tensor:
            logits = prediction(train)
            run.count(forward=2 * len(train))

            return targeting_coefficient(errors(logits, train.labels), errors(imputation(train), torch.sigmoid(logits)), inverse_on_device)

        def step(batch: RatingBatch) -> Tensor:
            if batch.epoch == len(coefficients):
                coefficients.append(coefficient())
            pairs = sampler.draw(recipe.sampled_per_observed * len(batch))
            imputed_logits = imputation(batch)
            with torch.no_grad():
                imputed, imputed_sampled = torch.sigmoid(imputed_logits), torch.sigmoid(imputation(pairs))
            loss = doubly_robust_loss(
                prediction(batch), batch.labels, imputed, weights_on_device[batch.index], prediction(pairs), imputed_sampled
            )
            move_prediction.zero_grad()
            loss.backward()
            move_prediction.step()

            with torch.no_grad():
                moved = prediction(batch)
            distance = targeted_imputation_loss(
                errors(moved, batch.labels),
                errors(imputed_logits, torch.sigmoid(moved)),
                inverse_on_device[batch.index],
                coefficients[-1],
            )
            move_imputation.zero_grad()
            distance.backward()
            move_imputation.step()
            run.count(forward=3 * len(batch) + 2 * len(pairs), backward=2 * len(batch) + len(pairs))

            return loss

        fit_ratings(data, run, step)

        return RatingFit(NetworkPredictor(prediction, run.device), weights)
