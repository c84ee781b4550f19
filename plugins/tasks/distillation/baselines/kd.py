"""Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531): match the teacher's probabilities, softened by a temperature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

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

__all__ = ["KD", "softened_divergence"]


def softened_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """
    Return ``T^2 KL(softmax(t / T) || softmax(s / T))``, ``(N,)``; the factor keeps the size of the gradient as T grows.

    Args:
        student: ``(N, C)``, logits.
        teacher: ``(N, C)``, logits.
        temperature: T, above 0.
    """
    log_q, log_p = log_softmax(student / temperature, dim=1), log_softmax(teacher / temperature, dim=1)

    # Spelt out: torch's kl_div has no rule for seeds that are trained at once, and would loop over them.
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim=1)


@dataclass
class KD:
    """
    Minimise ``a CE + b softened_divergence``.

    Args:
        ce_weight: a, of the cross entropy of the labels.
        kd_weight: b, of the divergence.
        temperature: T.
    """

    ce_weight: Annotated[float, Ge(0), Search(choices=(0.1, 0.5, 1.0))] = 0.1
    kd_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 0.9
    temperature: Annotated[float, Gt(0), Search(1.0, 8.0, log=True)] = 4.0

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train the student."""
        return train_student(data, run, self.loss)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum, mean over the batch."""
        divergence = softened_divergence(output.logits, batch.require_teacher().logits, self.temperature).mean()

        return self.ce_weight * cross_entropy(output.logits, batch.y) + self.kd_weight * divergence
