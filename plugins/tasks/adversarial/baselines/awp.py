"""AWP (Wu, Xia & Wang 2020, arXiv:2004.05884): each step at weights that have been moved, layer by layer, to where the adversarial loss is higher."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.adversarial.losses import LOSS_WEIGHT, trades_loss
from plugins.tasks.adversarial.training import AdversarialTraining, Batch, Trained, build_network

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.adversarial.protocol import AdversarialView

__all__ = ["AWP", "ascent_directions", "move_weights"]


def ascent_directions(network: nn.Module, loss: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
    """
    Return for each weight of at least two dimensions the direction in which a loss rises, as long as the weight itself.

    The released code finds it by a step of a copy; the size of that step cancels.

    Args:
        network: Left as it is, its running statistics too.
        loss: Of a network, to be raised.

    Returns:
        By name of the parameter; a weight without gradient gets zeros.
    """
    proxy = copy.deepcopy(network)
    weights = {name: weight for name, weight in proxy.named_parameters() if weight.ndim >= 2 and "weight" in name}
    gradients = torch.autograd.grad(loss(proxy), list(weights.values()))

    return {
        name: weight.detach().norm() * gradient / gradient.norm().clamp(min=1e-20)
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }


@torch.no_grad()
def move_weights(network: nn.Module, directions: dict[str, Tensor], gamma: float) -> None:
    """Add ``gamma`` times the directions to the weights of their names."""
    parameters = dict(network.named_parameters())
    for name, direction in directions.items():
        parameters[name].add_(direction, alpha=gamma)


@dataclass
class AWP:
    """
    Minimise the loss of PGD-AT, or of TRADES, at moved weights; the optimiser's decay acts on those, as in the released code.

    Args:
        form: ``at`` or ``trades``.
        gamma: How far weights move, relative to their norm; 0 is ``pgd_at`` or ``trades``.
        warmup: Share of the steps before weights are moved.
        beta: Of the divergence of ``trades``.
    """

    form: Literal["at", "trades"] = "at"
    gamma: Annotated[float, Ge(0), Search(0.001, 0.02, log=True)] = 0.01
    warmup: Annotated[float, Ge(0), Lt(1), Search(0.0, 0.3)] = 0.0
    beta: Annotated[float, Ge(0), LOSS_WEIGHT] = 6.0

    def fit(self, data: AdversarialView, run: Run) -> Trained:
        """Train."""
        network = build_network(data, run)
        training = AdversarialTraining(network, data, run)
        passes = 2 if self.form == "trades" else 1
        for batch in training.batches():
            moved = training.attack(batch.x, batch.y, *(("kl", "gaussian") if self.form == "trades" else ())).x
            directions = {}
            if self.gamma > 0 and batch.progress >= self.warmup:
                directions = ascent_directions(network, partial(self._loss, training, batch, moved))
                run.count(backward=passes * len(batch.x))
            move_weights(network, directions, self.gamma)
            training.descend(self._loss(training, batch, moved, network), samples=passes * len(batch.x))
            move_weights(network, directions, -self.gamma)

        return training.trained()

    def _loss(self, training: AdversarialTraining, batch: Batch, moved: Tensor, network: nn.Module) -> Tensor:
        logits = training.logits(moved, network)
        if self.form == "at":
            return cross_entropy(logits, batch.y)

        return trades_loss(training.logits(batch.x, network), logits, batch.y, self.beta)
