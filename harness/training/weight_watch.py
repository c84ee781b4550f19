"""
What training does to weights: their norms, and how far each step turns them.

The output of a layer that is followed by a normalisation does not depend on the scale of its weights; what a step changes is their direction, and the larger
their norm, the less. Source: Heo et al. 2021, arXiv:2006.08217, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.training.networks import Network

__all__ = ["WeightWatch", "hidden_weights", "turns"]


def hidden_weights(network: Network) -> list[Tensor]:
    """Return the effective weights of the linear and convolutional layers before the head, detached; parametrised ones as the forward pass uses them."""
    layers = [module for module in network.stages.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        return [layer.weight.detach() for layer in layers]


def turns(before: Sequence[Tensor], after: Sequence[Tensor], seeds: bool = False) -> Tensor:
    """
    Return the mean, over the tensors, of the distance between the unit vectors that they point along, in [0, 2].

    Args:
        before: Weights before a step, each read as one vector.
        after: Behind it, in the same order.
        seeds: Whether the first axis of each tensor counts seeds; the result is ``(S,)`` then, else a scalar.
    """
    return torch.stack(
        [torch.linalg.vector_norm(_unit(b, seeds) - _unit(a, seeds), dim=-1) for a, b in zip(before, after, strict=True)]
    ).mean(dim=0)


class WeightWatch:
    """
    Norms and turns of a network's hidden weights, epoch by epoch; without any, both are 0.

    Args:
        network: Watched from now on.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._last = self._weights()
        self._turns: list[Tensor] = []
        self.norms = [self._norm()]
        self.effective_steps: list[float] = []

    def step(self) -> None:
        """Note how far the weights have turned since the last call."""
        weights = self._weights()
        if weights:
            self._turns.append(turns(self._last, weights))
        self._last = weights

    def close_epoch(self) -> None:
        """Note the mean of the norms, and of the epoch's turns."""
        self.norms.append(self._norm())
        self.effective_steps.append(float(torch.stack(self._turns).mean()) if self._turns else 0.0)
        self._turns = []

    def _weights(self) -> list[Tensor]:
        return [weight.clone() for weight in hidden_weights(self._network)]

    def _norm(self) -> float:
        return float(torch.stack([weight.norm() for weight in self._last]).mean()) if self._last else 0.0


def _unit(weight: Tensor, seeds: bool) -> Tensor:
    flat = weight.flatten(1) if seeds else weight.flatten()

    length: Tensor = torch.linalg.vector_norm(flat, dim=-1, keepdim=True)

    return flat / length
