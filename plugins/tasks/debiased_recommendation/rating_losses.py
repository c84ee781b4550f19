"""
Losses of ratings that are missing not at random, as pure functions of logits, and the joint training of a prediction and an imputation model.

Letters: r label, r^ prediction, r~ imputed label (a probability), e the cross entropy of r^ and r, e~ that of r^ to the target r~, e^ that of r~, as a
prediction, to the target r^. The observed pairs of a batch are B, uniformly drawn pairs A, and w = 1 / p is an inverse propensity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from plugins.tasks.debiased_recommendation.rating_models import (
    NetworkPredictor,
    PairBatch,
    PairSampler,
    RatingBatch,
    RatingFit,
    RatingTrainingData,
    fit_ratings,
)

if TYPE_CHECKING:
    from harness.context import Run

__all__ = [
    "Predicted",
    "direct_loss",
    "doubly_robust_loss",
    "errors",
    "fit_doubly_robust",
    "imputation_loss",
    "inverse_propensity_loss",
    "self_normalised_loss",
]


class Predicted(NamedTuple):
    """
    What both models say of a batch before any of them moves, without graph.

    Args:
        observed: ``(B,)``, logits of the prediction model.
        sampled: ``(A,)``, its logits of the uniform pairs.
        imputed_observed: ``(B,)``, logits of the imputation model.
        imputed_sampled: ``(A,)``, its logits of the uniform pairs.
    """

    observed: Tensor
    sampled: Tensor
    imputed_observed: Tensor
    imputed_sampled: Tensor


def errors(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross entropy of each prediction to a target in [0, 1], in nats, ``(n,)``."""
    return binary_cross_entropy_with_logits(logits, target, reduction="none")


def inverse_propensity_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return ``mean_B w e``; weights of one give the naive loss (Schnabel et al. 2016, arXiv:1602.05352, equation (9))."""
    return (weights * errors(logits, labels)).mean()


def self_normalised_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return ``sum_B w e / sum_B w``, whose scale does not depend on that of the weights."""
    return (weights * errors(logits, labels)).sum() / weights.sum()


def direct_loss(logits: Tensor, imputed: Tensor) -> Tensor:
    """Return ``mean_A e~``: the error of all pairs if the imputed labels were true."""
    return errors(logits, imputed).mean()


def doubly_robust_loss(
    logits: Tensor,
    labels: Tensor,
    imputed: Tensor,
    weights: Tensor,
    sampled_logits: Tensor,
    sampled_imputed: Tensor,
    correction_weights: Tensor | None = None,
) -> Tensor:
    """
    Return ``mean_B w (e - e~) + mean_A e~``: unbiased if either the weights or the imputed errors are right (Wang et al. 2019).

    Args:
        logits: ``(B,)``, of the prediction model.
        labels: ``(B,)``.
        imputed: ``(B,)`` in [0, 1], without graph.
        weights: ``(B,)``, of mean 1 over all observed pairs.
        sampled_logits: ``(A,)``.
        sampled_imputed: ``(A,)`` in [0, 1], without graph.
        correction_weights: Weights of the subtracted ``e~``; the estimator's own by default, ones in the released code.
    """
    correction = weights if correction_weights is None else correction_weights

    return (weights * errors(logits, labels) - correction * errors(logits, imputed)).mean() + direct_loss(sampled_logits, sampled_imputed)


def imputation_loss(imputed_logits: Tensor, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """
    Return ``sum_B c (e - e^)^2``: how far the imputed errors are from those that are observed.

    Args:
        imputed_logits: ``(B,)``, of the imputation model.
        logits: ``(B,)``, of the prediction model, without graph.
        labels: ``(B,)``.
        weights: ``(B,)``, the factors c.
    """
    return (weights * (errors(logits, labels) - errors(imputed_logits, torch.sigmoid(logits))) ** 2).sum()


def fit_doubly_robust(
    data: RatingTrainingData,
    run: Run,
    weigh: Callable[[RatingBatch, PairBatch, Predicted], Tensor],
    imputation_factors: Callable[[Tensor], Tensor],
    final_weights: Callable[[], Tensor],
    self_normalised: bool = False,
) -> RatingFit:
    """
    Train a prediction and an imputation model in turn; in each step first the weights, then the prediction, then the imputation.

    Args:
        data: The task's view.
        run: The trial.
        weigh: Gives the weights of the observed pairs, ``(B,)`` without graph; may train what they come from.
        imputation_factors: Maps these weights to the factors of :func:`imputation_loss`.
        final_weights: Gives the weight of each training rating when training is over.
        self_normalised: Whether the prediction loss is :func:`self_normalised_loss`, which imputes nothing itself (StableDR), or
            :func:`doubly_robust_loss`.
    """
    recipe = data.recipe
    prediction, imputation = recipe.build_backbone(data, run), recipe.build_backbone(data, run, "init_imputation")
    move_prediction, move_imputation = recipe.build_optimizer(prediction), recipe.build_optimizer(imputation)
    sampler = PairSampler(data, run)

    def step(batch: RatingBatch) -> Tensor:
        pairs = sampler.draw(recipe.sampled_per_observed * len(batch))
        logits, sampled = prediction(batch), prediction(pairs)
        imputed_logits, imputed_sampled = imputation(batch), imputation(pairs)
        weights = weigh(
            batch, pairs, Predicted(logits.detach(), sampled.detach(), imputed_logits.detach(), imputed_sampled.detach())
        ).detach()
        if self_normalised:
            loss = self_normalised_loss(logits, batch.labels, weights)
        else:
            filled, filled_sampled = torch.sigmoid(imputed_logits.detach()), torch.sigmoid(imputed_sampled.detach())
            loss = doubly_robust_loss(logits, batch.labels, filled, weights, sampled, filled_sampled)
        move_prediction.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        move_prediction.step()

        with torch.no_grad():
            moved = prediction(batch)
        distance = imputation_loss(imputed_logits, moved, batch.labels, imputation_factors(weights))
        move_imputation.zero_grad()
        distance.backward()  # type: ignore[no-untyped-call]  # as above
        move_imputation.step()
        run.count(forward=3 * len(batch) + 2 * len(pairs), backward=2 * len(batch) + (0 if self_normalised else len(pairs)))

        return loss

    fit_ratings(data, run, step)

    return RatingFit(NetworkPredictor(prediction, run.device), final_weights())
