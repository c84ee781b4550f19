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

__all__ = ["WeightWatch", "directions", "hidden_weights", "turns"]


def hidden_weights(network: Network) -> list[Tensor]:
    """Return the effective weights of the linear and convolutional layers before the head, detached; parametrised ones as the forward pass uses them."""
    layers = [module for module in network.stages.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        return [layer.weight.detach() for layer in layers]


def directions(weights: Sequence[Tensor], seeds: bool = False) -> list[Tensor]:
    """
    Return the unit vector along each tensor, read as one vector.

    Args:
        weights: Of any shapes.
        seeds: Whether the first axis of each tensor counts seeds, each with a vector of its own.
    """
    vectors = [weight.flatten(1) if seeds else weight.flatten() for weight in weights]

    return [vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True) for vector in vectors]


def turns(before: Sequence[Tensor], after: Sequence[Tensor]) -> Tensor:
    """Return the mean, over the tensors, of the distance between two lists of :func:`directions`, in [0, 2]; ``(S,)`` for those of several seeds."""
    return torch.stack([torch.linalg.vector_norm(a - b, dim=-1) for b, a in zip(before, after, strict=True)]).mean(dim=0)


class WeightWatch:
    """
    Norms and turns of a network's hidden weights, epoch by epoch; without any, both are 0.

    Args:
        network: Watched from now on.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._last = directions(hidden_weights(network))
        self._turns: list[Tensor] = []
        self.norms = [self._norm()]
        self.effective_steps: list[float] = []

    def step(self) -> None:
        """Note how far the weights have turned since the last call."""
        now = directions(hidden_weights(self._network))
        if now:
            self._turns.append(turns(self._last, now))
        self._last = now

    def close_epoch(self) -> None:
        """Note the mean of the norms, and of the epoch's turns."""
        self.norms.append(self._norm())
        self.effective_steps.append(float(torch.stack(self._turns).mean()) if self._turns else 0.0)
        self._turns = []

    def _norm(self) -> float:
        weights = hidden_weights(self._network)

        return float(torch.stack([torch.linalg.vector_norm(weight) for weight in weights]).mean()) if weights else 0.0
