"""
Criteria of single units: a candidate's score is the sum over the units that it loses.

Behind the candidates of a layer's lowest units there is nothing but these sums, so that a criterion picks what it picks in practice where all ways are tried.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.filter_pruning.network import LayeredNetwork
    from plugins.tasks.filter_pruning.protocol import PruningView

__all__ = ["L1", "L2", "Random", "TaylorActivation", "TaylorWeight", "l1", "l2", "mean_product", "taylor_activation", "taylor_weight"]

BATCH = 500  # samples a pass of Taylor's criteria


def l1(weight: Tensor) -> Tensor:
    """Return the sum of sizes of each unit's incoming weights ``(units, ...)``, ``(units,)``."""
    return weight.abs().flatten(1).sum(dim=1)


def l2(weight: Tensor) -> Tensor:
    """Return the Euclidean norm of each unit's incoming weights ``(units, ...)``, ``(units,)``."""
    return torch.linalg.vector_norm(weight.flatten(1), dim=1)


def taylor_weight(weight: Tensor, gradient: Tensor) -> Tensor:
    """Return ``(sum w g)^2`` over each unit's incoming weights, ``(units,)``, where g is the gradient of the mean loss (Molchanov et al. 2019)."""
    return (weight * gradient).flatten(1).sum(dim=1).square()


def taylor_activation(activation: Tensor, gradient: Tensor) -> Tensor:
    """
    Return ``|mean a dL/da|`` of each unit, ``(units,)`` (Molchanov et al. 2017, arXiv:1611.06440).

    Args:
        activation: a, ``(B, units, ...)``, behind the rectifier.
        gradient: Of each sample's own loss.
    """
    return mean_product(activation, gradient).abs()


def mean_product(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return the mean of ``a dL/da`` over samples and pixels, ``(units,)``; arguments as of :func:`taylor_activation`."""
    return (activation * gradient).transpose(0, 1).flatten(1).mean(dim=1)


@dataclass
class L1:
    """The units of small weights go."""

    def score(self, data: PruningView, run: Run) -> Tensor:
        """Return sums of :func:`l1`."""
        return data.sum_over_removed({place: l1(data.network.layer(place).weight) for place in data.removed})


@dataclass
class L2:
    """The units of small weights go, by their squares."""

    def score(self, data: PruningView, run: Run) -> Tensor:
        """Return sums of :func:`l2`."""
        return data.sum_over_removed({place: l2(data.network.layer(place).weight) for place in data.removed})


@dataclass
class TaylorWeight:
    """The units go whose weights change the training loss least, to first order."""

    def score(self, data: PruningView, run: Run) -> Tensor:
        """Return sums of :func:`taylor_weight`, of the gradient over the whole training set."""
        network = _trainable(data)
        loss = torch.zeros((), device=run.device)
        for x, y in zip(data.train.x.split(BATCH), data.train.y.split(BATCH), strict=True):
            run.count(forward=len(x), backward=len(x))
            loss = loss + cross_entropy(network(x.to(run.device)), y.to(run.device), reduction="sum") / len(data.train)
        weights = [network.layer(place).weight for place in data.removed]
        gradients = torch.autograd.grad(loss, weights)

        return data.sum_over_removed(
            {place: taylor_weight(w.detach(), g) for place, w, g in zip(data.removed, weights, gradients, strict=True)}
        )


@dataclass
class TaylorActivation:
    """The units go whose activations change the training loss least, to first order."""

    def score(self, data: PruningView, run: Run) -> Tensor:
        """Return sums of :func:`taylor_activation`, over the whole training set."""
        network = _trainable(data)
        sums = {place: torch.zeros(network.widths[place], dtype=torch.float64) for place in data.removed}
        for x, y in zip(data.train.x.split(BATCH), data.train.y.split(BATCH), strict=True):
            run.count(forward=len(x), backward=len(x))
            found = network.activations(x.to(run.device))
            loss = cross_entropy(found[-1], y.to(run.device), reduction="sum")  # so that each sample's gradient is that of its own loss
            chosen = [found[place] for place in data.removed]
            for place, a, g in zip(data.removed, chosen, torch.autograd.grad(loss, chosen), strict=True):
                sums[place] += mean_product(a.detach(), g).double().cpu() * len(x)

        return data.sum_over_removed({place: (total / len(data.train)).abs() for place, total in sums.items()})


@dataclass
class Random:
    """Any units go."""

    def score(self, data: PruningView, run: Run) -> Tensor:
        """Return a random number for each candidate, of the stream ``scores``."""
        return torch.rand(data.n_candidates, generator=run.torch_rng("scores"))


def _trainable(data: PruningView) -> LayeredNetwork:
    """Return a copy of the network with gradients."""
    return copy.deepcopy(data.network).requires_grad_(True)
