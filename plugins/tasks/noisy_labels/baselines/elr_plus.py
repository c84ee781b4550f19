"""
ELR+ (Liu et al., 2020): early-learning regularisation with two networks, averages of their weights, and mixed samples.

Each network is held to a memory of what the other's average predicted, so that neither confirms its own mistakes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim.swa_utils import AveragedModel

from harness import Search
from harness.training.supervised import steps_of_an_epoch
from plugins.tasks.noisy_labels.baselines.elr import elr_loss
from plugins.tasks.noisy_labels.loop import Training, build_network

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["ELRPlus", "averaged", "mixed", "remembered", "reweighted", "sigmoid_ramp"]


def sigmoid_ramp(step: float, length: float) -> float:
    """Return ``exp(-5 (1 - step / length) ** 2)``, which rises from 0.007 to 1 over ``length`` steps; 1 from there on, and where ``length`` is 0."""
    return math.exp(-5 * (1 - min(1.0, step / length)) ** 2) if length > 0 else 1.0


def remembered(targets: Tensor, probabilities: Tensor, beta: float) -> Tensor:
    """Return the remembered targets after an update, ``beta * t + (1 - beta) * p``; ``(B, C)`` each, ``p`` of the other network's average."""
    return torch.lerp(probabilities, targets, beta)


def mixed(values: Tensor, partner: Tensor, share: float) -> Tensor:
    """Return ``share`` of each row and ``1 - share`` of the row ``partner`` ``(B,)``."""
    return torch.lerp(values[partner], values, share)


def reweighted(labels: Tensor, targets: Tensor) -> Tensor:
    """
    Return the labels times the remembered targets, normalised, ``(B, C)``: among the classes that were mixed, the one that was predicted counts for more.

    The authors' code has this for 100 classes; the paper does not name it.

    Args:
        labels: ``(B, C)``, soft.
        targets: ``(B, C)``.
    """
    products = labels * targets

    return products / products.sum(dim=1, keepdim=True).clamp(min=torch.finfo(products.dtype).tiny)


def averaged(network: nn.Module, decay: float, ramp: float) -> AveragedModel:
    """
    Return a network that ``update_parameters`` brings towards the given one: its k-th update, from 1, keeps ``decay * sigmoid_ramp(k, ramp)`` of itself.

    It is in evaluation mode, and has no gradient.
    """

    def following(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        return torch.lerp(current, average, decay * sigmoid_ramp(float(updates), ramp))

    average = AveragedModel(network, avg_fn=following)
    average.update_parameters(network)  # the first call copies, the later ones average

    return average.eval().requires_grad_(False)


@dataclass
class ELRPlus:
    """
    Train two networks by ELR on mixed samples, each against a memory of the other's average.

    Args:
        beta: How much of a target stays at each update; 0.9 in the paper with asymmetric noise and on CIFAR-100.
        strength: The paper's lambda, the weight of the regulariser; 1 in the paper with asymmetric noise, 7 on CIFAR-100.
        strength_ramp: Share of the steps over which the strength rises; half of them in the paper on CIFAR-100.
        average: How much of an average stays at each step; 0.997 in the paper.
        average_ramp: Share of the steps over which that rises; half of them in the paper.
        alpha: Both parameters of the beta distribution of the mixing coefficient.
        reweight_labels: Whether labels are :func:`reweighted`, as in the authors' code on CIFAR-100.
    """

    beta: Annotated[float, Ge(0), Lt(1), Search(choices=(0.5, 0.7, 0.9, 0.99))] = 0.7
    strength: Annotated[float, Ge(0), Search(0.3, 30.0, log=True)] = 3.0
    strength_ramp: Annotated[float, Ge(0), Le(1)] = 0.0
    average: Annotated[float, Ge(0), Lt(1), Search(choices=(0.9, 0.97, 0.99, 0.997))] = 0.99
    average_ramp: Annotated[float, Ge(0), Le(1), Search(choices=(0.1, 0.2, 0.5))] = 0.2
    alpha: Annotated[float, Gt(0), Search(choices=(0.2, 1.0))] = 1.0
    reweight_labels: bool = False

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train both networks; the weight of a sample is the mean of the probabilities that its two remembered targets give to its label."""
        networks = [build_network(data, run), build_network(data, run, stream="init_2")]
        training = Training(networks, data.recipe.build_optimizer(*networks), data, run)
        steps = run.budget.require("epochs") * steps_of_an_epoch(len(data.train), data.recipe.batch_size)
        averages = [averaged(network, self.average, self.average_ramp * steps) for network in networks]
        memory = torch.zeros(2, len(data.train), data.n_classes, device=run.device)  # row k: what network k is held to
        mix_rng = run.rng("mix")
        for batch in training.batches():
            strength = self.strength * sigmoid_ramp(batch.progress, self.strength_ramp)
            given = one_hot(batch.y, data.n_classes).to(memory.dtype)
            losses = []
            for k, network in enumerate(networks):
                with torch.no_grad():
                    predicted = training.logits(batch.x, averages[1 - k]).softmax(dim=1)
                kept = remembered(memory[k, batch.index], predicted, self.beta)
                memory[k, batch.index] = kept
                drawn = float(mix_rng.beta(self.alpha, self.alpha))
                share, partner = max(drawn, 1 - drawn), torch.from_numpy(mix_rng.permutation(len(batch.y))).to(run.device)
                x, labels, targets = (mixed(values, partner, share) for values in (batch.x, given, kept))
                if self.reweight_labels:
                    labels = reweighted(labels, targets)
                losses.append(elr_loss(training.logits(x, network), labels, targets, strength).mean())
            loss = losses[0] + losses[1]  # the networks share no parameters, so one backward pass serves both
            training.trust(batch, memory[:, batch.index].mean(dim=0).gather(1, batch.y[:, None]).squeeze(1))
            training.descend(loss, samples=2 * len(batch.y), train_loss=loss / 2)
            for average, network in zip(averages, networks, strict=True):
                average.update_parameters(network)

        return training.fitted()
