"""Probabilistic knowledge transfer (Passalis & Tefas 2018, arXiv:1803.10837): match, for each sample of a batch, the distribution of its similarities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.distillation.protocol import train_student

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["PKT", "similarity_divergence"]

EPSILON = 1e-7  # of the reference implementation, beside norms and probabilities


def similarity_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """
    Return the mean over all N^2 pairs of ``p log((p + eps) / (q + eps))``, p and q being the teacher's and the student's similarities; a scalar.

    A similarity is the cosine of two samples' features, mapped to [0, 1]; those of a sample are divided by their sum.

    Args:
        student: ``(N, d)``, features.
        teacher: ``(N, d')``, features.
    """
    q, p = _similarities(student), _similarities(teacher)

    return (p * ((p + EPSILON) / (q + EPSILON)).log()).mean()


def _similarities(features: Tensor) -> Tensor:
    directions = features / (features.norm(dim=1, keepdim=True) + EPSILON)
    similarities = (directions @ directions.T + 1) / 2

    return similarities / similarities.sum(dim=1, keepdim=True)


@dataclass
class PKT:
    """
    Minimise ``CE + w similarity_divergence`` of what the heads read.

    Args:
        weight: w.
    """

    weight: Annotated[float, Ge(0), Search(3.0, 100_000.0, log=True)] = 30_000.0

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student."""
        return train_student(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum."""
        divergence = similarity_divergence(output.features, batch.require_teacher().features)

        return cross_entropy(output.logits, batch.y) + self.weight * divergence
