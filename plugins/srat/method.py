"""SRAT (arXiv:2107.13639): the separation loss as a pure function, then adversarial training with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.nn.functional import normalize

from harness import Search
from harness.training.seeding import build_seeded
from plugins.tasks.adversarial.losses import LOSS_WEIGHT, ClassLoss, Weighting
from plugins.tasks.adversarial.training import AdversarialTraining, Trained, build_network

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.adversarial.protocol import AdversarialView

__all__ = ["SRAT", "separation_losses"]


def separation_losses(features: Tensor, y: Tensor, temperature: float) -> Tensor:
    """
    Return the supervised contrastive loss of each anchor (Khosla et al. 2020, arXiv:2004.11362): how far its class is from being all that is near.

    It is ``log sum_{a != i} exp(z_i z_a / t)`` less the mean of ``z_i z_p / t`` over the others of its class.

    Args:
        features: ``(B, d)``, normalised by the caller where that is meant.
        y: ``(B,)``.
        temperature: t, above 0.

    Returns:
        ``(B,)``, 0 for an anchor without another of its class, which stays in a mean over the batch.
    """
    similarity = features @ features.T / temperature
    itself = torch.eye(len(y), dtype=torch.bool, device=y.device)
    positive = (y[:, None] == y) & ~itself
    log_p = similarity - similarity.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True)
    counts = positive.sum(dim=1)
    near = log_p.masked_fill(~positive, 0.0).sum(dim=1)

    return torch.where(counts > 0, -near / counts.clamp(min=1), torch.zeros_like(near))


@dataclass
class SRAT(ClassLoss):
    """
    Minimise the loss of the labels (:class:`plugins.tasks.adversarial.losses.ClassLoss`) and ``separation`` times the contrastive one, both of attacked pictures.

    The attack ascends plain cross entropy. The contrastive loss sees features through a perceptron of one hidden layer, which is thrown away, at length 1.

    Args:
        separation: Lambda; 0 is ``pgd_at`` with the same class weights.
        temperature: Tau, of the contrastive loss.
        embedding_size: What the perceptron gives.
        weighting: As for ``pgd_at``.
        weighted_from: Likewise.
    """

    weighting: Weighting = "inverse_frequency"
    weighted_from: Annotated[float, Ge(0), Le(1), Search(choices=(0.0, 0.5, 0.7, 0.8, 0.9))] = 0.8
    separation: Annotated[float, Ge(0), LOSS_WEIGHT] = 2.0
    temperature: Annotated[float, Gt(0), Search(0.05, 1.0, log=True)] = 0.07
    embedding_size: Annotated[int, Ge(1)] = 128

    def fit(self, data: AdversarialView, run: Run) -> Trained:
        """Train."""
        network = build_network(data, run)
        n = network.n_features
        projection = build_seeded(
            lambda: nn.Sequential(nn.Linear(n, n), nn.ReLU(), nn.Linear(n, self.embedding_size)), run.torch_rng("projection")
        ).to(run.device)
        training = AdversarialTraining(network, data, run, beside=projection)
        for batch in training.batches():
            output = training.outputs(training.attack(batch.x, batch.y).x)
            classified = self.classify(output.logits, batch, data.class_counts)
            apart = separation_losses(normalize(projection(output.features), dim=1), batch.y, self.temperature).mean()
            training.descend(classified + self.separation * apart, separation=apart)

        return training.trained()
