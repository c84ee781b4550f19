"""The debiased information bottleneck (Liu et al. 2021): one part of the model takes up what is confounded, the other one alone predicts in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from harness import Search
from plugins.tasks.debiased_recommendation.rating_losses import errors
from plugins.tasks.debiased_recommendation.rating_models import NetworkPredictor, RatingBatch, RatingFit, fit_ratings

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings

__all__ = ["DIB", "debiased_bottleneck_loss"]


def debiased_bottleneck_loss(logits: Tensor, confounded: Tensor, joint: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    """
    Return ``(1 - alpha) e(z) - gamma e(c) + alpha e(z, c)``, means over the batch: c may help z, and must not predict by itself.

    With ``gamma > alpha`` it has no lower bound: c may be wrong with ever more confidence.

    Args:
        logits: ``(B,)``, of the unbiased part z.
        confounded: ``(B,)``, of the confounded part c.
        joint: ``(B,)``, of both together.
        labels: ``(B,)``.
        alpha: Of the joint prediction.
        gamma: Against predictions of c alone.
    """
    of_z, of_c, of_both = (errors(values, labels).mean() for values in (logits, confounded, joint))

    return (1 - alpha) * of_z - gamma * of_c + alpha * of_both


@dataclass
class DIB:
    """
    Minimise :func:`debiased_bottleneck_loss`, z and c in coordinates of their own: their joint logit is the sum of both.

    Args:
        alpha: Of the joint prediction.
        gamma: Against predictions of c alone, at most ``alpha``.
    """

    alpha: Annotated[float, Ge(0), Le(1), Search(0.1, 0.4, log=True)] = 0.1
    gamma: Annotated[float, Ge(0), Search(0.0, 0.1)] = 0.02

    def __post_init__(self) -> None:
        if self.gamma > self.alpha:
            raise ValueError(f"gamma is {self.gamma:g} and alpha {self.alpha:g}: the loss has no lower bound where gamma is the larger one")

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train both parts at once and keep z; every rating weighs the same."""
        unbiased, confounded = data.recipe.build_backbone(data, run), data.recipe.build_backbone(data, run, "init_confounded")
        optimizer = data.recipe.build_optimizer(unbiased)
        # With decay c shrinks to nothing, and z is the naive model.
        optimizer.add_param_group({"params": list(confounded.parameters()), "weight_decay": 0.0})

        def step(batch: RatingBatch) -> Tensor:
            z, c = unbiased(batch), confounded(batch)
            loss = debiased_bottleneck_loss(z, c, z + c, batch.labels, self.alpha, self.gamma)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.count(forward=2 * len(batch), backward=2 * len(batch))

            return loss

        fit_ratings(data, run, step)

        return RatingFit(NetworkPredictor(unbiased, run.device), torch.ones(len(data.train)))
