"""PLD, and what remains of it when all choices weigh alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt

from harness import Search
from plugins.pld.loss import choice_order, plackett_luce_loss, pld_loss
from plugins.tasks.distillation.protocol import train_student

if TYPE_CHECKING:
    from torch import Tensor

    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["PLD", "ListMLE"]


@dataclass
class PLD:
    """
    Minimise the mean of :func:`plugins.pld.loss.pld_loss`; cross entropy is part of it, so there is no term and no weight beside.

    Args:
        temperature: Of the teacher's probabilities where they are weights; 1 on ImageNet, 4 on CIFAR-100.
    """

    temperature: Annotated[float, Gt(0), Search(0.5, 4.0, log=True)] = 1.0

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student."""
        return train_student(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        return pld_loss(output.logits, batch.require_teacher().logits, batch.y, self.temperature).mean()


@dataclass
class ListMLE:
    """Minimise the same loss with the weight ``1 / C`` for each choice: the teacher decides the ranking alone."""

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student."""
        return train_student(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        order = choice_order(batch.require_teacher().logits, batch.y)
        weights = torch.full_like(output.logits, 1 / output.logits.shape[1])

        return plackett_luce_loss(output.logits, order, weights).mean()
