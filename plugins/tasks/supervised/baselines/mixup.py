"""mixup: samples and labels are mixed in pairs, so that between two samples the network has to move evenly from one answer to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from harness.training.fitting import WatchedTraining, build_network
from harness.training.parameter_groups import parameter_groups
from plugins.tasks.supervised.baselines.sgd import SGD

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Trained
    from plugins.tasks.supervised.protocol import ImageView

__all__ = ["Mixup", "mixed_cross_entropy", "mixed_samples"]


def mixed_samples(x: Tensor, partner: Tensor, share: float) -> Tensor:
    """
    Return ``share * x_i + (1 - share) * x_j`` with ``j = partner[i]``.

    Args:
        x: ``(B, ...)``.
        partner: ``(B,)``, a permutation of the positions.
        share: Of the sample itself, in [0, 1].
    """
    return share * x + (1 - share) * x[partner]


def mixed_cross_entropy(logits: Tensor, target: Tensor, partner: Tensor, share: float) -> Tensor:
    """
    Return the mean of ``share * CE(y_i) + (1 - share) * CE(y_j)``, the cross entropy to labels that are mixed as the samples.

    Args:
        logits: ``(B, C)`` of the mixed samples, unnormalised.
        target: ``(B,)``, class indices of the samples themselves.
        partner: As in :func:`mixed_samples`.
        share: As in :func:`mixed_samples`.
    """
    return share * cross_entropy(logits, target) + (1 - share) * cross_entropy(logits, target[partner])


@dataclass
class Mixup(SGD):
    """
    SGD on mixed samples (arXiv:1710.09412, equation (1)); pairs are drawn within the batch, with one share for all of them.

    Args:
        learning_rate: As in SGD.
        momentum: As in SGD.
        nesterov: As in SGD.
        weight_decay: As in SGD.
        alpha: The share is drawn from ``Beta(alpha, alpha)``. Towards 0 the samples stay as they are; the larger, the closer to the half.
    """

    alpha: Annotated[float, Gt(0), Search(0.1, 4.0, log=True)] = 1.0

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train the recipe's network; the curves show the loss on mixed samples."""
        network = build_network(data, run)
        training = WatchedTraining(network, self.optimizer(parameter_groups(network, self.weight_decay)), data, run)
        shares, pairs = run.rng("mixup/shares"), run.torch_rng("mixup/pairs")
        for batch in training.batches():
            share = float(shares.beta(self.alpha, self.alpha))
            partner = torch.randperm(len(batch.y), generator=pairs).to(batch.y.device)
            logits = training.logits(mixed_samples(batch.x, partner, share))
            training.descend(mixed_cross_entropy(logits, batch.y, partner, share))

        return training.trained()
