"""Adam, with the decay in the gradient or beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from harness.training.fitting import build_network, fit_network, labels_loss
from harness.training.parameter_groups import parameter_groups
from plugins.tasks.supervised.search_spaces import ADAM_RATE, COUPLED_DECAY, DECOUPLED_DECAY

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["Adam", "AdamW"]


@dataclass
class Adam:
    """
    Minimise the cross entropy by Adam with betas 0.9 and 0.999 and epsilon 1e-8, the decay added to the gradient.

    Args:
        learning_rate: Base of the recipe's schedule.
        weight_decay: L2; not on biases and normalisation.
    """

    learning_rate: Annotated[float, Gt(0), ADAM_RATE] = 1e-3
    weight_decay: Annotated[float, Ge(0), COUPLED_DECAY] = 0.0

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network."""
        network = build_network(data, run)

        return fit_network(network, self.optimizer(parameter_groups(network, self.weight_decay)), data, run, self.loss)

    def optimizer(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:  # Any: as torch types groups
        """Build the optimiser over parameter groups; fused, since that is the fastest form on a CPU too."""
        return torch.optim.Adam(groups, lr=self.learning_rate, fused=True)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        return labels_loss(output, batch)


@dataclass
class AdamW(Adam):
    """
    Adam whose decay shrinks the weights by ``1 - rate * decay`` before each step.

    Args:
        learning_rate: Base of the recipe's schedule.
        weight_decay: Decoupled; not on biases and normalisation.
    """

    weight_decay: Annotated[float, Ge(0), DECOUPLED_DECAY] = 1e-2

    def optimizer(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:  # Any: as torch types groups
        """Build the optimiser over parameter groups; fused, since that is the fastest form on a CPU too."""
        return torch.optim.AdamW(groups, lr=self.learning_rate, fused=True)
