"""DIST (Huang et al. 2022, arXiv:2205.10536): match how the teacher's probabilities correlate, over classes and over samples, rather than their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.distillation.protocol import train_student

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["DIST", "Relations", "correlations", "relation_losses"]

EPSILON = 1e-8  # of the authors' code, beside the product of the norms


class Relations(NamedTuple):
    """
    How far student and teacher are from a perfect correlation, scalars in [0, 2], times the squared temperature.

    Args:
        inter: Of the classes of a sample, mean over samples.
        intra: Of the samples of a batch for a class, mean over classes: depends on the batch size.
    """

    inter: Tensor
    intra: Tensor


def correlations(a: Tensor, b: Tensor) -> Tensor:
    """Return Pearson's correlation of each row of ``a`` and ``b``, ``(N, M)`` each: ``(N,)``; 0 where a row is constant."""
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)

    return (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1) + EPSILON)


def relation_losses(student: Tensor, teacher: Tensor, temperature: float) -> Relations:
    """
    Correlate softened probabilities.

    Args:
        student: ``(N, C)``, logits.
        teacher: ``(N, C)``, logits.
        temperature: Above 0.
    """
    q, p = (student / temperature).softmax(dim=1), (teacher / temperature).softmax(dim=1)

    return Relations(*(temperature**2 * (1 - correlations(a, b).mean()) for a, b in ((q, p), (q.T, p.T))))


@dataclass
class DIST:
    """
    Minimise ``a CE + beta inter + gamma intra``.

    Args:
        ce_weight: a; 1 in the authors' code, 0.1 in the PLD paper on ImageNet.
        beta: Weight of the relations between classes; 1 on ImageNet, 2 on CIFAR-100.
        gamma: Weight of the relations between samples; likewise.
        temperature: 1 on ImageNet, 4 on CIFAR-100.
    """

    ce_weight: Annotated[float, Ge(0), Search(choices=(0.1, 0.5, 1.0))] = 1.0
    beta: Annotated[float, Ge(0), Search(0.2, 4.0, log=True)] = 1.0
    gamma: Annotated[float, Ge(0), Search(0.2, 4.0, log=True)] = 1.0
    temperature: Annotated[float, Gt(0), Search(1.0, 8.0, log=True)] = 1.0

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student."""
        return train_student(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum."""
        relations = relation_losses(output.logits, batch.require_teacher().logits, self.temperature)

        return self.ce_weight * cross_entropy(output.logits, batch.y) + self.beta * relations.inter + self.gamma * relations.intra
