"""StableDR (Li et al. 2023): weights that are normalised in each batch, and propensities that are learned so that they balance the imputed errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from harness import Search
from plugins.tasks.debiased_recommendation.propensities import (
    ObservedLookup,
    PropensityModel,
    normalised,
    observation_rate,
    stable_propensity_terms,
)
from plugins.tasks.debiased_recommendation.rating_losses import Predicted, errors, fit_doubly_robust
from plugins.tasks.debiased_recommendation.rating_models import PairBatch, RatingBatch

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings
    from plugins.tasks.debiased_recommendation.rating_models import RatingFit

__all__ = ["StableDR"]


@dataclass
class StableDR:
    """
    Minimise ``sum_B w e / sum_B w``; the propensities minimise :func:`~.propensities.stable_propensity_terms`, the imputation ``sum_B w (e - e^)^2``.

    Args:
        balance: Of the balance of the imputed errors, beside the cross entropy of the propensities.
        propensity_learning_rate: Of Adam on the propensities.
        floor: Least propensity, as a share of the rate of observation.
    """

    balance: Annotated[float, Ge(0), Search(1e-2, 1e2, log=True)] = 1.0
    propensity_learning_rate: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 1e-2
    floor: Annotated[float, Gt(0), Le(1)] = 0.1

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train propensities, prediction and imputation in turn."""
        model = PropensityModel(data, data.recipe.embedding_size, run, self.floor).to(run.device)
        optimizer = torch.optim.Adam(
            model.parameters(), lr=self.propensity_learning_rate, weight_decay=data.recipe.weight_decay, fused=True
        )
        lookup = ObservedLookup(data.train.to(run.device), data.n_items)
        rate = observation_rate(data)

        def weigh(batch: RatingBatch, pairs: PairBatch, predicted: Predicted) -> Tensor:
            imputed_errors = errors(predicted.imputed_sampled, torch.sigmoid(predicted.sampled))
            terms = stable_propensity_terms(model(pairs), model.propensities(pairs), lookup.look_up(pairs).observed, imputed_errors)
            optimizer.zero_grad()
            (terms.cross_entropy + self.balance * terms.balance).backward()
            optimizer.step()
            run.count(forward=len(pairs) + len(batch), backward=len(pairs))
            with torch.no_grad():
                return rate / model.propensities(batch)

        @torch.no_grad()
        def final_weights() -> Tensor:
            return normalised(1 / model.propensities(data.train.to(run.device))).cpu()

        return fit_doubly_robust(data, run, weigh, lambda w: w, final_weights, self_normalised=True)
