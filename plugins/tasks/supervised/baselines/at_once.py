"""Several seeds as one program, for optimisers that treat each element by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from harness.training.fitting import build_network
from harness.training.parameter_groups import parameter_groups
from harness.training.seeds_at_once import fit_networks

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["ElementwiseMethod", "fit_seeds"]


class ElementwiseMethod(Protocol):
    """A method that trains the recipe's network as it is."""

    weight_decay: float

    def optimizer(self, groups: Iterable[dict[str, Any]]) -> Optimizer:  # Any: as torch types groups
        """Build an optimiser that treats each element by itself."""

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return what is minimised, a pure function."""


def fit_seeds(method: ElementwiseMethod, views: Sequence[ImageView], runs: Sequence[Run]) -> list[Trained]:
    """Train one network a seed, all at once, each as the method's ``fit`` would (:attr:`harness.specs.Method.seeds_at_once`)."""
    networks = [build_network(view, run) for view, run in zip(views, runs, strict=True)]

    return fit_networks(
        networks,
        lambda network, parameters: method.optimizer(parameter_groups(network, method.weight_decay, parameters)),
        views,
        runs,
        method.loss,
    )
