"""Elastic weight consolidation of hidden weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
from annotated_types import Gt
from torch.nn.functional import log_softmax, logsigmoid

from harness.specs import Search
from plugins.tasks.continual_binary.straight_through import BinaryNetwork, StraightThroughLearner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from harness.context import Run
    from plugins.tasks.continual_binary.protocol import Stream, TaskView

__all__ = ["EWC", "elastic_penalty", "fisher_diagonals", "layer_fisher"]


class Anchor(NamedTuple):
    """
    What a task leaves.

    Args:
        fisher: Of the weights of each layer.
        weights: As they were.
    """

    fisher: list[Tensor]
    weights: list[Tensor]


@dataclass
class EWC:
    """
    Hold hidden weights near where each task left them, by the diagonal of the Fisher information.

    Args:
        strength: lambda; 5,000 on a binary network for permuted MNIST in the metaplasticity paper.
    """

    strength: Annotated[float, Gt(0), Search(1.0, 1e5, log=True)] = 5000.0

    def begin(self, stream: Stream, run: Run) -> ElasticLearner:
        """Return a learner."""
        return ElasticLearner(stream, run, self.strength)


class ElasticLearner(StraightThroughLearner):
    """Keeps an anchor for every task, as in the original; the gains and shifts of normalisation are free."""

    def __init__(self, stream: Stream, run: Run, strength: float) -> None:
        super().__init__(stream, run)
        self._strength = strength
        self._anchors: list[Anchor] = []

    def learn(self, task: TaskView) -> None:
        """Train on the task, then drop an anchor."""
        super().learn(task)
        x = task.train.x.to(self.run.device)
        weights = [weight.detach().clone() for weight in self.network.hidden]
        self._anchors.append(Anchor(fisher_diagonals(self.network, x), weights))
        self.run.count(forward=len(x), backward=len(x) * max(self.stream.sizes[-1], 2))  # a slope for each label

    def penalty(self) -> Tensor | None:
        """Return the sum over anchors."""
        if not self._anchors:
            return None
        weights = list(self.network.hidden)

        return torch.stack([elastic_penalty(weights, *anchor, self._strength) for anchor in self._anchors]).sum()


def elastic_penalty(weights: Sequence[Tensor], fisher: Sequence[Tensor], anchor: Sequence[Tensor], strength: float) -> Tensor:
    """
    Return ``strength / 2 sum F (w - w*) ** 2``; Kirkpatrick et al. 2017 (arXiv:1612.00796), equation 3.

    Args:
        weights: w, of each layer.
        fisher: F, of the same shapes.
        anchor: w*, likewise.
        strength: lambda.
    """
    return strength / 2 * torch.stack([(f * (w - a) ** 2).sum() for w, f, a in zip(weights, fisher, anchor, strict=True)]).sum()


def layer_fisher(inputs: Tensor, slopes: Sequence[Tensor], probabilities: Sequence[Tensor]) -> Tensor:
    """
    Return the diagonal of the Fisher information of a linear layer, ``(out, in)``: the mean over samples of the squared slope of each, expected over labels.

    The slope of ``log p(y | x)`` by a weight is that by its sum times its input, so that no gradient of a single sample has to be formed.

    Args:
        inputs: ``(B, in)``.
        slopes: For each label considered, ``(B, out)``: of ``log p(label | x)`` by the layer's sums.
        probabilities: Of that label, ``(B,)``; a 1 for the true label alone gives the empirical Fisher information.
    """
    squares = torch.stack([p[:, None] * slope**2 for slope, p in zip(slopes, probabilities, strict=True)]).sum(dim=0)

    return squares.T @ inputs**2 / len(inputs)


def fisher_diagonals(network: BinaryNetwork, x: Tensor) -> list[Tensor]:
    """
    Return the diagonal of the Fisher information of each layer's weights, its labels expected under the network's own probabilities.

    Gradients go straight through signs. The statistics of normalisation are those of all samples and are held, so that each sample has a slope of its own.

    Args:
        network: The network.
        x: ``(n, d)``, training samples.
    """
    with torch.no_grad():
        _, _, sums = network.trace(x)
        statistics = [(value.mean(dim=0), value.var(dim=0, correction=0)) for value in sums]
    logits, inputs, sums = network.trace(x, statistics)
    log_p = torch.cat([logsigmoid(-logits), logsigmoid(logits)], dim=1) if logits.shape[1] == 1 else log_softmax(logits, dim=1)
    labels = range(log_p.shape[1])
    slopes = [torch.autograd.grad(log_p[:, label].sum(), sums, retain_graph=True) for label in labels]
    p = log_p.detach().exp()

    return [
        layer_fisher(given.detach(), [slopes[label][depth] for label in labels], [p[:, label] for label in labels])
        for depth, given in enumerate(inputs)
    ]
