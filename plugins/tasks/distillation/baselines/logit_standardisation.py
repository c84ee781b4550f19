"""Logit standardisation (Sun et al. 2024, arXiv:2403.01427): knowledge distillation that compares the shape of the logits and not their size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.distillation.baselines.kd import softened_divergence
from plugins.tasks.distillation.protocol import train_student

if TYPE_CHECKING:
    from harness import Run
    from harness.training.fitting import Batch, Trained
    from harness.training.networks import Output
    from plugins.tasks.distillation.protocol import DistillationView

__all__ = ["LogitStandardisation", "standardised"]

EPSILON = 1e-7


def standardised(logits: Tensor) -> Tensor:
    """
    Return the logits ``(N, C)`` of each sample less their mean, over their unbiased standard deviation; both receive a gradient.

    Of two classes the sign of the difference is all that is left, and there is no gradient.
    """
    return (logits - logits.mean(dim=1, keepdim=True)) / (logits.std(dim=1, keepdim=True) + EPSILON)


@dataclass
class LogitStandardisation:
    """
    Minimise ``a CE + b softened_divergence`` of :func:`standardised` logits; the cross entropy is that of the logits themselves.

    Args:
        ce_weight: a, of the cross entropy of the labels.
        kd_weight: b, of the divergence, which is smaller than that of logits as they are.
        temperature: T.
    """

    ce_weight: Annotated[float, Ge(0), Search(choices=(0.1, 0.5, 1.0))] = 0.1
    kd_weight: Annotated[float, Ge(0), Search(0.9, 18.0, log=True)] = 9.0
    temperature: Annotated[float, Gt(0), Search(1.0, 8.0, log=True)] = 2.0

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student."""
        return train_student(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum, mean over the batch."""
        student, teacher = standardised(output.logits), standardised(batch.require_teacher().logits)
        divergence = softened_divergence(student, teacher, self.temperature).mean()

        return self.ce_weight * cross_entropy(output.logits, batch.y) + self.kd_weight * divergence
