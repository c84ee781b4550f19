"""Mean Teacher (Tarvainen & Valpola 2017, arXiv:1703.01780), as the code base TorchSSL trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from harness import Search
from harness.training.normalisation import frozen_statistics
from plugins.tasks.semi_supervised.steps import Guesses, SemiSupervisedFit, Training, ramp

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.semi_supervised.protocol import SemiSupervised

__all__ = ["MeanTeacher", "consistency_loss"]


def consistency_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """
    Return the squared distance between the probabilities of both, its mean over samples and classes.

    Args:
        student: ``(B, C)``, logits; they alone receive a gradient.
        teacher: ``(B, C)``, logits.
    """
    return mse_loss(student.softmax(dim=1), teacher.detach().softmax(dim=1))


@dataclass
class MeanTeacher:
    """
    Add the loss of :func:`consistency_loss` between the network on one weak view and the averaged network on another, with a weight that grows.

    Args:
        unlabelled_weight: λ, at the end of the ramp; 50 in TorchSSL, where runs have a million steps.
        ramp_share: Share of the steps in which the weight grows from 0.
    """

    unlabelled_weight: Annotated[float, Ge(0), Search(0.1, 100.0, log=True)] = 50.0
    ramp_share: Annotated[float, Gt(0), Le(1)] = 0.4

    def fit(self, data: SemiSupervised, run: Run) -> SemiSupervisedFit:
        """Train; the batch statistics of both unlabelled passes are not remembered."""
        training = Training(data, run)
        for batch in training.batches(weak=2):
            first, second = batch.weak
            (labelled,) = training.logits(batch.x)
            with frozen_statistics(training.average), torch.no_grad():
                (teacher,) = training.logits(first, network=training.average)
            with frozen_statistics(training.network):
                (student,) = training.logits(second)
            weight = self.unlabelled_weight * ramp(batch.progress, self.ramp_share)
            used = torch.ones(len(first), dtype=torch.bool, device=first.device)
            training.descend(
                cross_entropy(labelled, batch.y) + weight * consistency_loss(student, teacher),
                samples=len(batch.x) + len(second),
                guesses=Guesses(batch.index, teacher.argmax(dim=1), used, ~used),
            )

        return training.fitted()
