"""Counterfactual variational information bottleneck (Wang et al. 2020): observed and other pairs should be predicted alike on the whole; no propensities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from harness import Search
from plugins.tasks.debiased_recommendation.rating_losses import errors
from plugins.tasks.debiased_recommendation.rating_models import NetworkPredictor, PairSampler, RatingBatch, RatingFit, fit_ratings

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings

__all__ = ["CVIB", "bottleneck_loss"]

SMALLEST = 1e-6


def bottleneck_loss(logits: Tensor, labels: Tensor, sampled_logits: Tensor, alpha: float, gamma: float) -> Tensor:
    """
    Return ``mean_B e + alpha (-m log m_A - (1 - m) log(1 - m_A)) + gamma mean_B r^ log r^``, m and m_A the mean predictions over B and A.

    Args:
        logits: ``(B,)``.
        labels: ``(B,)``.
        sampled_logits: ``(A,)``.
        alpha: Of the cross entropy between the two means.
        gamma: Of the confidence penalty.
    """
    predicted = torch.sigmoid(logits)
    mean = predicted.mean()
    mean_sampled = torch.sigmoid(sampled_logits).mean().clamp(SMALLEST, 1 - SMALLEST)
    contrast = -mean * mean_sampled.log() - (1 - mean) * (1 - mean_sampled).log()

    return errors(logits, labels).mean() + alpha * contrast + gamma * torch.special.entr(predicted).mean().neg()


@dataclass
class CVIB:
    """
    Minimise :func:`bottleneck_loss`.

    Args:
        alpha: Of the contrast between observed and other pairs.
        gamma: Of the confidence penalty.
    """

    alpha: Annotated[float, Ge(0), Search(1e-3, 1.0, log=True)] = 0.1
    gamma: Annotated[float, Ge(0), Search(1e-4, 1e-1, log=True)] = 0.01

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train one backbone; every rating weighs the same."""
        network = data.recipe.build_backbone(data, run)
        optimizer = data.recipe.build_optimizer(network)
        sampler = PairSampler(data, run)

        def step(batch: RatingBatch) -> Tensor:
            pairs = sampler.draw(data.recipe.sampled_per_observed * len(batch))
            loss = bottleneck_loss(network(batch), batch.labels, network(pairs), self.alpha, self.gamma)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.count(forward=len(batch) + len(pairs), backward=len(batch) + len(pairs))

            return loss

        fit_ratings(data, run, step)

        return RatingFit(NetworkPredictor(network, run.device), torch.ones(len(data.train)))
