"""Pretraining whose batches are weighed by the losses of their samples (Sow et al., 2025, arXiv:2502.06733)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le
from torch import Tensor

from harness import Search
from plugins.dynamic_loss_reweighting.weights import Strategy, step_weights, trainer_loss, weighted_loss
from plugins.tasks.lm_pretraining.protocol import pretrain, token_mean

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_pretraining.protocol import BatchLosses, PretrainingView, Trained

__all__ = ["DynamicLossReweighting"]


@dataclass
class DynamicLossReweighting:
    """
    Minimise ``sum_i w_i l_i`` over the samples of a batch, with weights that are a softmax of their relative losses, behind a first part without weights.

    Args:
        strategy: How a relative loss is scored: ``linupper`` is the paper's best.
        temperature: r, of the softmax; 0.4 in the authors' trainer for their larger GPT-2 models.
        burn_in: Share of the steps that are not weighed, since losses are noise then; the authors' first 1,000 of 20,000.
        length_normalised: Whether a sample counts with its length besides, as in the authors' trainer for GPT-2.
    """

    strategy: Strategy = "linupper"
    temperature: Annotated[float, Gt(0), Search(0.1, 10.0, log=True)] = 1.0
    burn_in: Annotated[float, Ge(0), Le(1)] = 0.05
    length_normalised: bool = False

    def fit(self, data: PretrainingView, run: Run) -> Trained:
        """
        Train the model.

        Raises:
            ValueError: A batch is one sample, whose weight is 1 whatever its loss.
        """
        if data.recipe.batch_size < 2:
            raise ValueError("a batch of one sample has nothing to weigh: set 'batch_size' to 2 or more")

        return pretrain(data, run, self.loss)

    def loss(self, losses: BatchLosses) -> Tensor:
        """Return the weighted loss of a batch, or the mean over its tokens in the burn-in."""
        if losses.progress < self.burn_in:
            return token_mean(losses)
        mean, active = losses.samples
        weights = step_weights(mean, self.strategy, self.temperature)

        return trainer_loss(mean, active, weights) if self.length_normalised else weighted_loss(mean, weights)
