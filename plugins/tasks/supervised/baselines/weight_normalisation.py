"""Weight normalisation: the weights of each unit are a direction and a length, trained apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from harness.training.fitting import build_network, fit_network
from harness.training.parameter_groups import parameter_groups
from plugins.tasks.supervised.baselines.sgd import SGD

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Trained
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["WeightNormalisation", "normalise_weights"]


def normalise_weights(network: nn.Module) -> None:
    """Write the weight of each linear and convolutional layer as ``g v / |v|``, unit by unit, in place; what the network computes stays the same."""
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            weight_norm(module, dim=0)


@dataclass
class WeightNormalisation(SGD):
    """
    SGD on ``g`` and ``v`` of ``w = g v / |v|`` (arXiv:1602.07868, equation (2)), from the recipe's initial weights and without data-dependent initialisation.

    Args:
        learning_rate: As in SGD.
        momentum: As in SGD.
        nesterov: As in SGD.
        weight_decay: As in SGD, on ``g`` and ``v``; what ``v`` loses changes nothing but how far the next steps turn it.
    """

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network with its weights written anew."""
        network = build_network(data, run)
        normalise_weights(network)

        return fit_network(network, self.optimizer(parameter_groups(network, self.weight_decay)), data, run, self.loss)
