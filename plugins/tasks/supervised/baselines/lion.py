"""Lion: every weight moves by the sign of its momentum, so that one state in the place of Adam's two is enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from harness import Search
from harness.training.fitting import build_network, fit_network, labels_loss
from harness.training.parameter_groups import parameter_groups
from plugins.tasks.supervised.search_spaces import DECOUPLED_DECAY

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["Lion", "LionOptimizer"]


class LionOptimizer(torch.optim.Optimizer):
    """
    ``w <- w (1 - rate * decay)``; ``w <- w - rate * sign(beta1 m + (1 - beta1) g)``; ``m <- beta2 m + (1 - beta2) g``, from ``m = 0``.

    Args:
        params: As for any optimiser of torch.
        lr: By how much a step moves each weight.
        betas: Shares of the momentum that the step and the next momentum keep, in [0, 1).
        weight_decay: Decoupled, multiplied by the learning rate.
    """

    def __init__(
        self,
        params: Iterable[Any],  # Any: as torch has it
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # torch's takes a closure
        """Take one step."""
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                momentum = state.setdefault("momentum_buffer", torch.zeros_like(weight))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(momentum.lerp(weight.grad, 1 - beta1).sign_(), alpha=group["lr"])
                momentum.lerp_(weight.grad, 1 - beta2)


@dataclass
class Lion:
    """
    Minimise the cross entropy by Lion with betas 0.9 and 0.99 (arXiv:2302.06675, algorithm 2).

    Args:
        learning_rate: Base of the recipe's schedule, and by how much a step moves each weight: times the number of steps, it bounds how far training gets.
        weight_decay: Decoupled; not on biases and normalisation.
    """

    learning_rate: Annotated[float, Gt(0), Search(1e-5, 1e-2, log=True)] = 1e-4
    weight_decay: Annotated[float, Ge(0), DECOUPLED_DECAY] = 0.0

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network."""
        network = build_network(data, run)

        return fit_network(network, self.optimizer(parameter_groups(network, self.weight_decay)), data, run, self.loss)

    def optimizer(self, groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:  # Any: as torch types groups
        """Build the optimiser over parameter groups."""
        return LionOptimizer(groups, lr=self.learning_rate)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the mean over the batch."""
        return labels_loss(output, batch)
