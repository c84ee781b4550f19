"""Stochastic gradient descent with momentum: what the others are compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from harness.training.fitting import build_network, fit_network, labels_loss
from harness.training.parameter_groups import parameter_groups
from plugins.tasks.supervised.search_spaces import COUPLED_DECAY, SGD_RATE

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["SGD"]


@dataclass
class SGD:
    """
    Minimise the cross entropy by ``g <- g + decay w``, ``b <- momentum b + g``, ``w <- w - rate b``, or ``w - rate (g + momentum b)`` with Nesterov.

    Args:
        learning_rate: Base of the recipe's schedule.
        momentum: In [0, 1).
        nesterov: Whether the newest gradient counts once more; needs momentum.
        weight_decay: L2, added to the gradient; not on biases and normalisation.
    """

    learning_rate: Annotated[float, Gt(0), SGD_RATE] = 0.1
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, Ge(0), COUPLED_DECAY] = 1e-4

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0; set 'nesterov: false'")

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network."""
        network = build_network(data, run)

        return fit_network(network, self.optimizer(parameter_groups(network, self.weight_decay)), data, run, self.loss)

    def optimizer(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:  # Any: as torch types groups
        """Build the optimiser over parameter groups."""
        return torch.optim.SGD(groups, lr=self.learning_rate, momentum=self.momentum, nesterov=self.nesterov)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        return labels_loss(output, batch)
