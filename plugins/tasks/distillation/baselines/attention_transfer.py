"""Attention transfer (Zagoruyko & Komodakis 2017, arXiv:1612.03928): match where the stages of both networks are active."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from harness import Search
from plugins.tasks.distillation.baselines.maps import same_size, stage_pairs
from plugins.tasks.distillation.protocol import train_student

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["AttentionTransfer", "attention_loss", "attention_map"]


def attention_map(maps: Tensor) -> Tensor:
    """Return the mean square over the channels of ``(N, c, h, w)`` as vectors ``(N, h w)`` of norm 1."""
    return normalize((maps**2).mean(dim=1).flatten(1), dim=1)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """
    Return the mean squared difference between the attention maps of a stage; a scalar.

    Args:
        student: ``(N, c, h, w)``.
        teacher: ``(N, c', h', w')``; the larger one is averaged to the size of the smaller.
    """
    student, teacher = same_size(student, teacher)

    return ((attention_map(student) - attention_map(teacher)) ** 2).mean()


@dataclass
class AttentionTransfer:
    """
    Minimise ``CE + w sum attention_loss`` over the stages; both networks must be convolutional.

    Args:
        weight: w.
    """

    weight: Annotated[float, Ge(0), Search(1.0, 3000.0, log=True)] = 1000.0

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student."""
        return train_student(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum."""
        pairs = stage_pairs(output, batch.require_teacher(), pictures=True)
        attention = torch.stack([attention_loss(student, teacher) for student, teacher in pairs]).sum()

        return cross_entropy(output.logits, batch.y) + self.weight * attention
