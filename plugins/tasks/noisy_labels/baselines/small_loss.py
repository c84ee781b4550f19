"""Small-loss selection: wrong labels have large losses early on, so train on the samples of smallest loss only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.noisy_labels.baselines.selection import forget_rates, smallest
from plugins.tasks.noisy_labels.loop import Batch, fit_by_loss

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["SmallLoss"]


@dataclass
class SmallLoss:
    """
    Train one network with cross entropy on the samples of each batch that it finds easiest.

    Args:
        forget_rate: Share of each batch that is left out in the end; ``None`` takes the data's noise rate.
        ramp_fraction: Share of the epochs over which the rate rises from 0.
    """

    forget_rate: Annotated[float, Ge(0), Lt(1)] | None = None
    ramp_fraction: Annotated[float, Ge(0), Le(1), Search(0.1, 0.6)] = 0.2

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train one network; the weight of a sample is 1 where it was kept in the last epoch, else 0."""
        rates = forget_rates(data, run.budget.require("epochs"), self.forget_rate, self.ramp_fraction)

        def loss(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
            losses = cross_entropy(logits, batch.y, reduction="none")
            kept = smallest(losses.detach(), rates[batch.epoch])

            return losses[kept].mean(), torch.zeros_like(losses).index_fill(0, kept, 1.0)

        return fit_by_loss(data, run, loss)
