"""Relational knowledge distillation (Park et al. 2019, arXiv:1904.05068): match the distances and the angles between the features of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, smooth_l1_loss

from harness import Search
from plugins.tasks.distillation.protocol import train_student

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["RKD", "angle_loss", "distance_loss"]

SMALLEST_SQUARE = 1e-12  # of a distance, before the root, whose slope is infinite at 0


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """
    Return the smooth L1 distance between both matrices of distances, each in units of its mean positive one; a scalar, mean over all N^2 pairs.

    Args:
        student: ``(N, d)``, features.
        teacher: ``(N, d')``, features.
    """
    return smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """
    Return the smooth L1 distance between the cosines of all angles that three samples make; a scalar, mean over all N^3 triplets, whose memory it takes.

    Args:
        student: ``(N, d)``, features.
        teacher: ``(N, d')``, features.
    """
    return smooth_l1_loss(_cosines_of_angles(student), _cosines_of_angles(teacher))


def _relative_distances(features: Tensor) -> Tensor:
    squares = (features**2).sum(dim=1)
    between = (squares[:, None] + squares[None, :] - 2 * features @ features.T).clamp(min=SMALLEST_SQUARE).sqrt()
    distances = between * (1 - torch.eye(len(features), dtype=features.dtype, device=features.device))

    return distances * (distances > 0).sum() / distances.sum()


def _cosines_of_angles(features: Tensor) -> Tensor:
    directions = normalize(features[None, :, :] - features[:, None, :], dim=2)

    return directions @ directions.transpose(1, 2)


@dataclass
class RKD:
    """
    Minimise ``CE + d distance_loss + a angle_loss`` of what the heads read.

    Args:
        distance_weight: d.
        angle_weight: a.
    """

    distance_weight: Annotated[float, Ge(0), Search(0.1, 100.0, log=True)] = 25.0
    angle_weight: Annotated[float, Ge(0), Search(0.1, 100.0, log=True)] = 50.0

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student."""
        return train_student(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum."""
        student, teacher = output.features, batch.require_teacher().features
        relations = self.distance_weight * distance_loss(student, teacher) + self.angle_weight * angle_loss(student, teacher)

        return cross_entropy(output.logits, batch.y) + relations
