"""IPS-V2 and DR-V2 (Li et al. 2023): propensities that are trained along on all pairs, so that they balance the current predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

from harness import Search
from plugins.tasks.debiased_recommendation.propensities import (
    ObservedLookup,
    PropensityModel,
    entire_space_balance,
    normalised,
    observation_rate,
)
from plugins.tasks.debiased_recommendation.rating_losses import Predicted, fit_doubly_robust, inverse_propensity_loss
from plugins.tasks.debiased_recommendation.rating_models import (
    NetworkPredictor,
    PairBatch,
    PairSampler,
    RatingBatch,
    RatingFit,
    fit_ratings,
)

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings

__all__ = ["DRV2", "IPSV2"]

SMALLEST = 1e-6


@dataclass
class IPSV2:
    """
    Weigh by propensities whose loss on uniform pairs is ``alpha bce(p, o) + beta bce(p r^, o r) + eta balance``.

    Args:
        alpha: Of the cross entropy of the propensities.
        beta: Of the cross entropy of "observed and positive", which the prediction model minimises too.
        eta: Of :func:`~.propensities.entire_space_balance`.
        propensity_learning_rate: Of Adam on the propensities.
        floor: Least propensity, as a share of the rate of observation.
    """

    alpha: Annotated[float, Ge(0), Search(1e-2, 1e2, log=True)] = 1.0
    beta: Annotated[float, Ge(0), Search(1e-2, 1e2, log=True)] = 1.0
    eta: Annotated[float, Ge(0), Search(1e-2, 1e2, log=True)] = 1.0
    propensity_learning_rate: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 1e-2
    floor: Annotated[float, Gt(0), Le(1)] = 0.1

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train propensities and prediction in turn."""
        recipe = data.recipe
        trainer = _Propensities(self, data, run)
        prediction = recipe.build_backbone(data, run)
        optimizer = recipe.build_optimizer(prediction)
        sampler = PairSampler(data, run)

        def step(batch: RatingBatch) -> Tensor:
            pairs = sampler.draw(recipe.sampled_per_observed * len(batch))
            sampled = prediction(pairs)
            weights = trainer.step(batch, pairs, sampled.detach())
            loss = inverse_propensity_loss(prediction(batch), batch.labels, weights) + self.beta * trainer.entire_space_loss(pairs, sampled)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.count(forward=len(batch) + len(pairs), backward=len(batch) + len(pairs))

            return loss

        fit_ratings(data, run, step)

        return RatingFit(NetworkPredictor(prediction, run.device), trainer.final_weights())


@dataclass
class DRV2(IPSV2):
    """The same propensities within doubly robust joint learning; the prediction model minimises the doubly robust loss alone."""

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train propensities, prediction and imputation in turn."""
        trainer = _Propensities(self, data, run)

        def weigh(batch: RatingBatch, pairs: PairBatch, predicted: Predicted) -> Tensor:
            return trainer.step(batch, pairs, predicted.sampled)

        return fit_doubly_robust(data, run, weigh, lambda w: w, trainer.final_weights)


class _Propensities:
    """The propensity model of a trial, and its steps."""

    def __init__(self, settings: IPSV2, data: ObservedRatings, run: Run) -> None:
        self._settings, self._run = settings, run
        self._model = PropensityModel(data, data.recipe.embedding_size, run, settings.floor).to(run.device)
        self._optimizer = torch.optim.Adam(
            self._model.parameters(), lr=settings.propensity_learning_rate, weight_decay=data.recipe.weight_decay, fused=True
        )
        self._train = data.train.to(run.device)
        self._lookup = ObservedLookup(self._train, data.n_items)
        self._rate = observation_rate(data)

    def step(self, batch: RatingBatch, pairs: PairBatch, sampled_logits: Tensor) -> Tensor:
        """Move the propensities once and return the weights of the batch, without graph."""
        known = self._lookup.look_up(pairs)
        predictions = torch.sigmoid(sampled_logits)
        propensities = self._model.propensities(pairs)
        loss = (
            self._settings.alpha * binary_cross_entropy_with_logits(self._model(pairs), known.observed)
            + self._settings.beta * _joint_loss(propensities, predictions, known.labels)
            + self._settings.eta * entire_space_balance(propensities, known.observed, predictions)
        )
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._run.count(forward=len(pairs) + len(batch), backward=len(pairs))
        with torch.no_grad():
            return self._rate / self._model.propensities(batch)

    def entire_space_loss(self, pairs: PairBatch, sampled_logits: Tensor) -> Tensor:
        """Return ``mean_A bce(p r^, o r)`` with its graph to the predictions alone."""
        with torch.no_grad():
            propensities = self._model.propensities(pairs)

        return _joint_loss(propensities, torch.sigmoid(sampled_logits), self._lookup.look_up(pairs).labels)

    @torch.no_grad()
    def final_weights(self) -> Tensor:
        """Return the weight of each training rating."""
        return normalised(1 / self._model.propensities(self._train)).cpu()


def _joint_loss(propensities: Tensor, predictions: Tensor, observed_labels: Tensor) -> Tensor:
    return binary_cross_entropy((propensities * predictions).clamp(SMALLEST, 1 - SMALLEST), observed_labels)
