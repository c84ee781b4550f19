"""Pseudo-Label (Lee 2013), as the code base TorchSSL trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from harness.training.normalisation import frozen_statistics
from plugins.tasks.semi_supervised.steps import Guesses, SemiSupervisedFit, Training, ramp

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.semi_supervised.protocol import SemiSupervised

__all__ = ["PseudoLabel", "pseudo_label_loss"]


def pseudo_label_loss(logits: Tensor, threshold: float) -> Tensor:
    """
    Return the mean over all samples of the cross entropy to the predicted class, where its probability reaches ``threshold``, else 0.

    Args:
        logits: ``(B, C)``; they give the label, without gradient, and receive the gradient.
        threshold: τ in [0, 1].
    """
    best, label = logits.detach().softmax(dim=1).max(dim=1)

    return torch.where(best >= threshold, cross_entropy(logits, label, reduction="none"), 0.0).mean()


@dataclass
class PseudoLabel:
    """
    Add the loss of :func:`pseudo_label_loss` on one weak view, with a weight that grows.

    Args:
        threshold: τ, the confidence from which a prediction is a label.
        unlabelled_weight: λ, at the end of the ramp.
        ramp_share: Share of the steps in which the weight grows from 0.
    """

    threshold: Annotated[float, Gt(0), Le(1), Search(0.3, 0.98)] = 0.95
    unlabelled_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    ramp_share: Annotated[float, Gt(0), Le(1)] = 0.4

    def fit(self, data: SemiSupervised, run: Run) -> SemiSupervisedFit:
        """Train; the batch statistics of the unlabelled pass are not remembered."""
        training = Training(data, run)
        for batch in training.batches(weak=1):
            (labelled,) = training.logits(batch.x)
            with frozen_statistics(training.network):
                (logits,) = training.logits(*batch.weak)
            weight = self.unlabelled_weight * ramp(batch.progress, self.ramp_share)
            best, label = logits.detach().softmax(dim=1).max(dim=1)
            certain = best >= self.threshold
            training.descend(
                cross_entropy(labelled, batch.y) + weight * pseudo_label_loss(logits, self.threshold),
                samples=len(batch.x) + len(batch.index),
                guesses=Guesses(batch.index, label, certain, torch.zeros_like(certain)),
                mask_ratio=certain.double().mean(),
            )

        return training.fitted()
