"""
UNICON's selection of samples (Karim et al., 2022) as a method: cross entropy on the labels that are nearest to the network's predictions.

As many samples of each class are taken, since the classes that are learned first have the smaller losses and would fill the selection. The semi-supervised
and contrastive training on the samples that are left out, which is the other half of UNICON, is not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from harness import Search
from harness.training.classifier import NetworkEnsemble
from plugins.tasks.noisy_labels.loop import Training, build_network

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["UniconSelection", "balanced_selection", "cutoff", "divergences", "label_weights"]

EPSILON = 1e-10  # of the authors' code: keeps the logarithm finite


def divergences(probabilities: Tensor, target: Tensor) -> Tensor:
    """
    Return the Jensen-Shannon divergence between each prediction and its one-hot label, ``(N,)``, in [0, log 2]; equation 4 of arXiv:2203.14542.

    It is a decreasing function of the probability of the label alone.

    Args:
        probabilities: ``(N, C)``; of two networks, their mean.
        target: ``(N,)``, class indices.
    """
    label = one_hot(target, probabilities.shape[1]).to(probabilities)
    middle = (probabilities + label) / 2

    def divergence(p: Tensor) -> Tensor:
        return (p * ((p + EPSILON) / (middle + EPSILON)).log()).sum(dim=1)

    return (divergence(probabilities) + divergence(label)) / 2


def cutoff(divergence: Tensor, limit: float, tau: float) -> float:
    """
    Return the divergence below which labels count as clean: the mean, or where that exceeds the limit, the mean less ``1 / tau`` of its distance to the least.

    Args:
        divergence: ``(N,)``.
        limit: The paper's d_mu.
        tau: The filter coefficient.
    """
    mean, least = float(divergence.mean()), float(divergence.min())

    return mean - (mean - least) / tau if mean > limit else mean


def balanced_selection(divergence: Tensor, target: Tensor, n_classes: int, threshold: float) -> Tensor:
    """
    Return which samples are taken, ``(N,)`` bool: ``int(R N / C)`` of the smallest divergence of each class, all of a class that has no more.

    ``R`` is the share of all samples whose divergence is below the threshold.

    Args:
        divergence: ``(N,)``.
        target: ``(N,)``, class indices as given.
        n_classes: C.
        threshold: From :func:`cutoff`.
    """
    n_taken = int((divergence < threshold).sum()) // n_classes
    selected = torch.zeros_like(target, dtype=torch.bool)
    for c in range(n_classes):
        members = (target == c).nonzero().squeeze(1)
        selected[members[divergence[members].argsort(stable=True)[:n_taken]]] = True

    return selected


def label_weights(divergence: Tensor) -> Tensor:
    """Return the share that a selected label has in its refined target under UNICON, ``(N,)``: 1 below a divergence of 0.5, else 1 less the divergence."""
    return torch.where(divergence < 0.5, 1.0, 1 - divergence)


@dataclass
class UniconSelection:
    """
    Train one network with cross entropy on the samples that it selected before the epoch, and on all of them during the warm-up.

    Args:
        warm_up_fraction: Share of the epochs before the first selection.
        limit: Of the mean divergence, in nats. No mean exceeds 0.7; the paper's 0.7 and 0.5 in bits are 0.485 and 0.347.
        tau: By how much of its distance to the least divergence a mean beyond the limit is lowered, as a divisor.
    """

    warm_up_fraction: Annotated[float, Ge(0), Lt(1), Search(0.05, 0.5)] = 0.2
    limit: Annotated[float, Gt(0), Search(choices=(0.347, 0.485, 0.7))] = 0.7
    tau: Annotated[float, Ge(1), Search(choices=(2.0, 5.0))] = 5.0

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train one network; the weight of a sample is :func:`label_weights` where it was selected for the last epoch, else 0."""
        warm_up = round(self.warm_up_fraction * run.budget.require("epochs"))
        network = build_network(data, run)
        training = Training([network], data.recipe.build_optimizer(network), data, run)
        trust = torch.ones(len(data.train), device=run.device)
        for epoch, batches in training.epochs():
            if epoch >= warm_up:
                divergence = divergences(NetworkEnsemble([network]).predict_proba(data.train.x), data.train.y)
                selected = balanced_selection(divergence, data.train.y, data.n_classes, cutoff(divergence, self.limit, self.tau))
                trust = torch.where(selected, label_weights(divergence), 0.0).to(run.device)
                run.count(forward=len(data.train))
            for batch in batches:
                losses = cross_entropy(training.logits(batch.x), batch.y, reduction="none")
                weights = trust[batch.index]
                kept = (weights > 0).to(losses.dtype)
                training.trust(batch, weights)
                training.descend((kept * losses).sum() / kept.sum().clamp(min=1))

        return training.fitted()
