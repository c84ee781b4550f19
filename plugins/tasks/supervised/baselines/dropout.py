"""Dropout: hidden units that are left out at random cannot rely on each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Lt

from harness import Search
from harness.training.fitting import build_network, fit_network
from harness.training.parameter_groups import parameter_groups
from plugins.tasks.supervised.baselines.sgd import SGD

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Trained
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["Dropout"]


@dataclass
class Dropout(SGD):
    """
    SGD on a network with dropout: behind each hidden layer of a perceptron, before the head of a plain convolutional network.

    Args:
        learning_rate: As in SGD.
        momentum: As in SGD.
        nesterov: As in SGD.
        weight_decay: As in SGD.
        rate: Share of the units that are left out.
    """

    rate: Annotated[float, Ge(0), Lt(1), Search(0.1, 0.6)] = 0.5

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network with dropout."""
        network = build_network(data, run, dropout=self.rate)

        return fit_network(network, self.optimizer(parameter_groups(network, self.weight_decay)), data, run, self.loss)
