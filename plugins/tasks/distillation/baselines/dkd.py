"""
Decoupled knowledge distillation (Zhao et al. 2022, arXiv:2203.08679).

The divergence of knowledge distillation has two parts, what the teacher says of the label and what it says among the other classes; the second is multiplied
with the teacher's doubt, and so vanishes where the teacher is sure. Here each has a weight of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from harness import Search
from plugins.tasks.distillation.protocol import train_student

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["DKD", "Decoupled", "decoupled_divergence"]


class Decoupled(NamedTuple):
    """
    The parts of the softened divergence, ``(N,)`` each, times the squared temperature.

    Args:
        target: TCKD, between the distributions over the label and all others together.
        others: NCKD, between the distributions among the other classes. With p the teacher's softened probability of the label, the whole divergence is
            ``target + (1 - p) others``.
    """

    target: Tensor
    others: Tensor


def decoupled_divergence(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Decoupled:
    """
    Divide the divergence between softened distributions.

    Args:
        student: ``(N, C)``, logits.
        teacher: ``(N, C)``, logits.
        labels: ``(N,)``, class indices.
        temperature: T, above 0.
    """
    at = labels[:, None]
    log_q, log_p = log_softmax(student / temperature, dim=1), log_softmax(teacher / temperature, dim=1)
    # Both parts stay in logarithms: 1 - p would be 0 for a teacher that is sure.
    rest_q, rest_p = (log.scatter(1, at, -math.inf).logsumexp(dim=1, keepdim=True) for log in (log_q, log_p))
    target_q, target_p = log_q.gather(1, at), log_p.gather(1, at)
    target = target_p.exp() * (target_p - target_q) + rest_p.exp() * (rest_p - rest_q)
    others_q, others_p = (log_q - rest_q).scatter(1, at, 0.0), (log_p - rest_p).scatter(1, at, 0.0)
    others = (others_p.exp() * (others_p - others_q)).sum(dim=1)

    return Decoupled(temperature**2 * target.squeeze(1), temperature**2 * others)


@dataclass
class DKD:
    """
    Minimise ``CE + min(epoch / warmup, 1) (alpha TCKD + beta NCKD)``, epochs counted from 0.

    Args:
        alpha: Weight of the label's part.
        beta: Weight of the part among the other classes; 2 to 8 for pairs of networks on CIFAR-100, 0.5 on ImageNet.
        temperature: T.
        warmup_epochs: Until both have their full weight.
    """

    alpha: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    beta: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 8.0
    temperature: Annotated[float, Gt(0), Search(1.0, 8.0, log=True)] = 4.0
    warmup_epochs: Annotated[int, Ge(0)] = 20

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student."""
        return train_student(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum, mean over the batch."""
        parts = decoupled_divergence(output.logits, batch.require_teacher().logits, batch.y, self.temperature)
        warmth = min(batch.epoch / self.warmup_epochs, 1.0) if self.warmup_epochs > 0 else 1.0

        return cross_entropy(output.logits, batch.y) + warmth * (self.alpha * parts.target + self.beta * parts.others).mean()
