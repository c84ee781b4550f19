"""Similarity-preserving distillation (Tung & Mori 2019, arXiv:1907.09682): match which samples of a batch excite a stage alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from harness import Search
from plugins.tasks.distillation.protocol import train_student

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["SimilarityPreserving", "similarity_loss"]


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """
    Return the squared Frobenius distance between both matrices of inner products, rows divided by their norms, by N^2; a scalar.

    Args:
        student: ``(N, ...)``, what a stage gives.
        teacher: ``(N, ...)``.
    """
    return ((_similarities(student) - _similarities(teacher)) ** 2).mean()


def _similarities(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)

    return normalize(flat @ flat.T, dim=1)


@dataclass
class SimilarityPreserving:
    """
    Minimise ``CE + w similarity_loss`` of the last stage, as the reference implementation does; the paper sums over stages.

    Args:
        weight: w.
    """

    weight: Annotated[float, Ge(0), Search(0.3, 10_000.0, log=True)] = 3000.0

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student."""
        return train_student(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum."""
        teacher = batch.require_teacher()
        similarity = similarity_loss(output.maps[-1], teacher.maps[-1])

        return cross_entropy(output.logits, batch.y) + self.weight * similarity
