"""Elastic weight consolidation (Kirkpatrick et al. 2017, arXiv:1612.00796): weights that mattered are held where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy, log_softmax, pad

from harness import Search
from plugins.tasks.class_incremental.training import Training, next_network, score

if TYPE_CHECKING:
    from harness import Run
    from harness.training.networks import Network
    from plugins.tasks.class_incremental.stream import Experience

__all__ = ["EWC", "anchored", "fisher_diagonal", "widened"]

CHUNK = 50  # samples whose gradients are in memory together


def fisher_diagonal(network: nn.Module, x: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
    """
    Return the diagonal of the Fisher matrix, ``mean_x sum_c w_c (d log p_c / d theta)^2``, sample by sample.

    Args:
        network: In evaluation mode; gives logits ``(N, C)``.
        x: ``(N, ...)``.
        weights: ``(N, C)``; the network's own probabilities by default, which is the Fisher matrix. With one-hot labels it is the empirical one.

    Returns:
        By name of the parameter, of its shape.
    """
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def log_probability(values: Mapping[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        return log_softmax(functional_call(network, {**values, **buffers}, (one[None],)), dim=1)[0].gather(0, label[None])[0]

    of_each = vmap(grad(log_probability), in_dims=(None, 0, None))
    with torch.no_grad():
        chosen = network(x).softmax(dim=1) if weights is None else weights
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for part, share in zip(x.split(CHUNK), chosen.split(CHUNK), strict=True):
        for label in range(chosen.shape[1]):
            for name, gradient in of_each(parameters, part, torch.tensor(label, device=x.device)).items():
                total[name] += torch.einsum("n,n...->...", share[:, label], gradient.square())

    return {name: value / len(x) for name, value in total.items()}


def anchored(parameters: Mapping[str, Tensor], importance: Mapping[str, Tensor], anchor: Mapping[str, Tensor]) -> Tensor:
    """Return ``sum_i importance_i (theta_i - anchor_i)^2``."""
    return torch.stack([(importance[name] * (value - anchor[name]).square()).sum() for name, value in parameters.items()]).sum()


def widened(values: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give values of a head that has grown since rows of zeros."""
    return {
        name: pad(value, (0, 0, 0, len(parameters[name]) - len(value))) if name == "head.weight" else value
        for name, value in values.items()
    }


@dataclass
class EWC:
    """
    Minimise ``CE + (w / 2) sum_i F_i (theta_i - anchor_i)^2`` on new samples: F summed over the experiences, the anchor the weights behind the last one.

    Args:
        weight: w, of the penalty; 0 is ``finetune``. The best value spans decades.
        fisher_samples: Of each experience, drawn from the stream ``fisher t``, that F is measured on.
    """

    weight: Annotated[float, Ge(0), Search(1e0, 1e4, log=True)] = 100.0
    fisher_samples: Annotated[int, Ge(1)] = 40

    def __post_init__(self) -> None:
        self._network: Network | None = None
        self._importance: dict[str, Tensor] = {}
        self._anchor: dict[str, Tensor] = {}

    def learn(self, experience: Experience, run: Run) -> None:
        """Train under the penalty, then measure F."""
        self._network = network = next_network(self._network, experience, run)
        parameters = dict(network.named_parameters())
        importance, anchor = widened(self._importance, parameters), widened(self._anchor, parameters)
        training = Training(network, experience.train, experience, run)
        for batch in training.batches():
            loss = cross_entropy(training.outputs(batch.x).logits, batch.y)
            if importance and self.weight > 0:
                loss = loss + self.weight / 2 * anchored(parameters, importance, anchor)
            training.descend(loss)
        if self.weight == 0:
            return
        x = experience.train.x
        chosen = torch.randperm(len(x), generator=run.torch_rng(f"fisher {experience.index}"))[: self.fisher_samples]
        run.count(forward=len(chosen), backward=len(chosen) * experience.n_seen)
        fisher = fisher_diagonal(network, x[chosen].to(run.device))
        self._importance = {name: value + importance.get(name, 0) for name, value in fisher.items()}
        self._anchor = {name: value.detach().clone() for name, value in parameters.items()}

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the logits."""
        return score(self._network, x)
