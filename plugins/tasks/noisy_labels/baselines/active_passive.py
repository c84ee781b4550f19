"""
Active-passive loss (Ma et al., 2020): an active part that raises the probability of the label, and a passive one that lowers those of the other classes.

Each is normalised or bounded so that its sum over all labels is constant, which is what makes a loss tolerant of symmetric noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import log_softmax

from harness import Search
from plugins.tasks.noisy_labels.loop import Batch, fit_by_loss

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["ActivePassive", "normalised_cross_entropy", "reverse_cross_entropy"]

ZERO = 1e-4  # of the authors' code: what stands for 0 in the logarithm of the label
SMALLEST = 1e-7  # of the authors' code: the least probability


def normalised_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """
    Return ``log p_y / sum_j log p_j``, ``(B,)``, in [0, 1] (equation 3 of arXiv:2006.13554): the active part.

    Args:
        logits: ``(B, C)``.
        target: ``(B,)``, class indices.
    """
    log_p = log_softmax(logits, dim=1)

    return log_p.gather(1, target[:, None]).squeeze(1) / log_p.sum(dim=1)


def reverse_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """
    Return ``-sum_j p_j log y_j``, ``(B,)``, where 1e-4 stands for the zeros of the one-hot ``y``: the passive part.

    Up to the clamp of the probabilities this is ``9.21 (1 - p_y)``, the mean absolute error in another scale.

    Args:
        logits: ``(B, C)``.
        target: ``(B,)``, class indices.
    """
    p = logits.softmax(dim=1).clamp(min=SMALLEST)
    others = p.sum(dim=1) - p.gather(1, target[:, None]).squeeze(1)

    return -math.log(ZERO) * others


@dataclass
class ActivePassive:
    """
    Minimise ``alpha * normalised_cross_entropy + beta * reverse_cross_entropy``.

    Args:
        alpha: Weight of the active part; 1 in the paper on ten classes, 10 on a hundred.
        beta: Weight of the passive part; 10 in the paper on MNIST, 1 on CIFAR-10, 0.1 on CIFAR-100.
    """

    alpha: Annotated[float, Ge(0), Search(0.1, 30.0, log=True)] = 1.0
    beta: Annotated[float, Ge(0), Search(0.1, 30.0, log=True)] = 1.0

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train one network; the weight of a sample is ``p_y``, the factor of the passive part's gradient."""

        def loss(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
            active, passive = normalised_cross_entropy(logits, batch.y), reverse_cross_entropy(logits, batch.y)
            p = logits.detach().softmax(dim=1).gather(1, batch.y[:, None]).squeeze(1)

            return self.alpha * active.mean() + self.beta * passive.mean(), p

        return fit_by_loss(data, run, loss)
