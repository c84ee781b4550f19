"""Training by AdamP and SGDP (Heo et al. 2021, arXiv:2006.08217); the optimisers are in :mod:`plugins.adamp.optimizers`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le, Lt

from harness.training.fitting import build_network, fit_network
from harness.training.parameter_groups import parameter_groups
from plugins.adamp import optimizers
from plugins.tasks.supervised.search_spaces import ADAM_RATE, COUPLED_DECAY, DECOUPLED_DECAY, SGD_RATE

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Trained
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["SGDP", "AdamP"]


@dataclass
class AdamP:
    """
    Minimise the cross entropy by AdamP with betas 0.9 and 0.999 and epsilon 1e-8.

    Args:
        learning_rate: Base of the recipe's schedule.
        weight_decay: Decoupled; not on biases and normalisation.
        delta: Threshold of the test for scale invariance; 0 is AdamW.
        wd_ratio: Share of the decay that a scale-invariant weight gets.
        nesterov: Whether the newest gradient counts once more.
    """

    learning_rate: Annotated[float, Gt(0), ADAM_RATE] = 1e-3
    weight_decay: Annotated[float, Ge(0), DECOUPLED_DECAY] = 1e-2
    delta: Annotated[float, Ge(0)] = 0.1
    wd_ratio: Annotated[float, Ge(0), Le(1)] = 0.1
    nesterov: bool = False

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network."""
        network = build_network(data, run)
        optimizer = optimizers.AdamP(
            parameter_groups(network, self.weight_decay),
            lr=self.learning_rate,
            delta=self.delta,
            wd_ratio=self.wd_ratio,
            nesterov=self.nesterov,
        )

        return fit_network(network, optimizer, data, run)


@dataclass
class SGDP:
    """
    Minimise the cross entropy by SGDP, with epsilon 1e-8 and without dampening.

    Args:
        learning_rate: Base of the recipe's schedule.
        momentum: In [0, 1).
        weight_decay: Decoupled, of the size that L2 regularisation has; not on biases and normalisation.
        nesterov: Whether the newest gradient counts once more; without it the released code projects its momentum too.
        delta: Threshold of the test for scale invariance.
        wd_ratio: Share of the decay that a scale-invariant weight gets.
    """

    learning_rate: Annotated[float, Gt(0), SGD_RATE] = 0.1
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    weight_decay: Annotated[float, Ge(0), COUPLED_DECAY] = 1e-5
    nesterov: bool = True
    delta: Annotated[float, Ge(0)] = 0.1
    wd_ratio: Annotated[float, Ge(0), Le(1)] = 0.1

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network."""
        network = build_network(data, run)
        optimizer = optimizers.SGDP(
            parameter_groups(network, self.weight_decay),
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            delta=self.delta,
            wd_ratio=self.wd_ratio,
        )

        return fit_network(network, optimizer, data, run)
