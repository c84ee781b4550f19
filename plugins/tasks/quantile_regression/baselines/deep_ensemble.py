"""Deep ensembles (Lakshminarayanan et al. 2017): networks that differ by their initial weights and the order of their batches alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from plugins.tasks.quantile_regression.base_models import Network, evaluate, mean_and_variance, search_base_model, train_network
from plugins.tasks.quantile_regression.protocol import Prediction
from plugins.tasks.quantile_regression.quantiles import normal_quantiles

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantile_regression.protocol import QuantileView

__all__ = ["DeepEnsemble", "moments_of_the_mixture"]


def moments_of_the_mixture(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """
    Return mean and variance of an even mixture of distributions, ``(n,)`` each.

    The variance is the mean of the variances and, since the members disagree, that of the means.

    Args:
        means: ``(M, n)``, of M members.
        variances: ``(M, n)``.
    """
    mean = means.mean(dim=0)

    return mean, (variances + (means - mean) ** 2).mean(dim=0)


@dataclass
class DeepEnsemble:
    """
    Train Gaussian networks on all of the training part and predict by the normal distribution of their mixture's moments (arXiv:1612.01474).

    The hyperparameters are those that the search of ``gaussian_network`` finds; adversarial examples, which the paper may add, are left out.

    Args:
        members: M.
    """

    members: Annotated[int, Ge(1)] = 5

    def fit(self, data: QuantileView, run: Run) -> _Ensemble:
        """Search once, then train each member with streams of its own."""
        values = search_base_model("gaussian_network", data.train, data.valid, data.levels, data.recipe, run).values
        networks = [
            train_network("gaussian_network", data.train, data.valid, data.levels, data.recipe, run, values, part=f"member {number}")
            for number in range(self.members)
        ]

        return _Ensemble(networks, data.levels)


class _Ensemble:
    def __init__(self, networks: Sequence[Network], levels: np.ndarray) -> None:
        self._networks = networks
        self._levels = levels

    def predict(self, x: np.ndarray, base: np.ndarray | None) -> Prediction:
        """Predict quantiles of the matched normal distribution, which never cross."""
        means, variances = zip(*(mean_and_variance(evaluate(network, x)) for network in self._networks), strict=True)
        mean, variance = (tensor.double().cpu().numpy() for tensor in moments_of_the_mixture(torch.stack(means), torch.stack(variances)))
        quantiles = normal_quantiles(mean, np.sqrt(variance), self._levels)

        return Prediction(quantiles, quantiles)
