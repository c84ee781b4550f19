"""mixup (Zhang et al., 2018; arXiv:1710.09412): one pair and one weight a batch, as in the authors' code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt
from plugins.tasks.noisy_labels.loop import Training, build_network
from torch import Tensor
from torch.nn.functional import cross_entropy

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["Mixup", "mixed_cross_entropy", "mixed_samples"]


def mixed_samples(x: Tensor, partner: Tensor, weight: float) -> Tensor:
    """
    Return ``lambda * x_i + (1 - lambda) * x_j`` with ``j = partner[i]``: the inputs of equation (1).

    Args:
        x: ``(B, ...)``.
        partner: ``(B,)``, a permutation of the positions.
        weight: ``lambda`` in [0, 1], the share of the sample itself.
    """
    return weight * x + (1 - weight) * x[partner]


def mixed_cross_entropy(logits: Tensor, target: Tensor, partner: Tensor, weight: float) -> Tensor:
    """
    Return ``lambda * CE(y_i) + (1 - lambda) * CE(y_j)`` with ``j = partner[i]``.

    Cross entropy is linear in the target, so this is the cross entropy to the mixed label ``lambda * onehot(y_i) + (1 - lambda) * onehot(y_j)``.

    Args:
        logits: ``(B, C)`` of the mixed samples, unnormalised.
        target: ``(B,)``, class indices of the samples themselves.
        partner: As in :func:`mixed_samples`.
        weight: As in :func:`mixed_samples`.

    Returns:
        ``(B,)``, the loss of each mixed sample, not reduced.
    """
    own = cross_entropy(logits, target, reduction="none")
    other = cross_entropy(logits, target[partner], reduction="none")

    return weight * own + (1 - weight) * other


@dataclass
class Mixup:
    """
    Minimise the mean of :func:`mixed_cross_entropy` over mixed samples; the pairs are drawn within the batch.

    Args:
        alpha: ``lambda ~ Beta(alpha, alpha)``, one draw a batch. Towards 0 the samples stay as they are; the larger, the closer to the half.
    """

    alpha: Annotated[float, Gt(0)] = 1.0

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train one network; a label is mixed with whatever comes along, so there are no sample weights."""
        network = build_network(data, run)
        training = Training([network], data.recipe.build_optimizer(network), data, run)
        weights = run.rng("mixup/lambda")
        pairs = run.torch_rng("mixup/pairs")
        for batch in training.batches():
            weight = float(weights.beta(self.alpha, self.alpha))
            partner = torch.randperm(len(batch.y), generator=pairs).to(batch.y.device)
            logits = training.logits(mixed_samples(batch.x, partner, weight))
            training.descend(mixed_cross_entropy(logits, batch.y, partner, weight).mean())

        return training.fitted()
