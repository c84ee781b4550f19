"""Powerpropagation: each weight is a power of a free parameter, so that large weights grow faster and small ones stay small, and the network can be pruned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from harness import Search
from harness.training.fitting import build_network, fit_network
from harness.training.parameter_groups import parameter_groups
from plugins.tasks.supervised.baselines.sgd import SGD

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Trained
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["Power", "Powerpropagation", "raise_weights", "signed_power"]


def signed_power(theta: Tensor, alpha: float) -> Tensor:
    """
    Return ``theta |theta| ** (alpha - 1)``, with the gradient ``alpha |theta| ** (alpha - 1)``, which is finite at 0 for alpha of at least 1.

    Args:
        theta: Any shape.
        alpha: Positive; 1 is the identity, bit for bit.
    """
    # The derivative of the power alone is infinite at 0 below alpha = 2; where the magnitude is cut off, it has none.
    return theta * theta.abs().clamp(min=torch.finfo(theta.dtype).tiny) ** (alpha - 1)


class Power(nn.Module):
    """
    The parametrisation of a weight: :func:`signed_power` of a parameter that starts where the weight is what it was.

    Args:
        alpha: At least 1.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, theta: Tensor) -> Tensor:
        """Return the effective weight."""
        return signed_power(theta, self.alpha)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the parameter for a weight that is assigned: ``sign(w) |w| ** (1 / alpha)``."""
        return weight.sign() * weight.abs() ** (1 / self.alpha)


def raise_weights(network: nn.Module, alpha: float) -> None:
    """Write the weight of each linear and convolutional layer as a power, in place; what the network computes stays the same."""
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            register_parametrization(module, "weight", Power(alpha))


@dataclass
class Powerpropagation(SGD):
    """
    SGD on ``theta`` of ``w = theta |theta| ** (alpha - 1)`` (arXiv:2110.00296, equation (1)), from the recipe's initial weights; biases stay as they are.

    Args:
        learning_rate: As in SGD; a weight below 1 moves at ``alpha ** 2 |theta| ** (2 alpha - 2)`` times this rate.
        momentum: As in SGD.
        nesterov: As in SGD.
        weight_decay: As in SGD, on ``theta``: a penalty on ``|w| ** (2 / alpha)``.
        alpha: The power; 1 is SGD.
    """

    alpha: Annotated[float, Ge(1), Search(1.0, 4.0)] = 2.0

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network with its weights written anew."""
        network = build_network(data, run)
        raise_weights(network, self.alpha)

        return fit_network(network, self.optimizer(parameter_groups(network, self.weight_decay)), data, run, self.loss)
