"""
Distribution alignment: predictions on unlabelled samples are divided by their running mean, so that on average all classes are predicted alike.

Two running means are in use; both take the batch in before it is aligned. Source: Berthelot et al. 2020, arXiv:1911.09785, section 3.1; the queue is that of
SimMatch and of ShrinkMatch's code for CIFAR.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

__all__ = ["Alignment", "NoAlignment", "QueueAlignment", "RunningMeanAlignment", "aligned", "build_alignment"]

QUEUE_LENGTH = 32
DECAY = 0.999


class Alignment(Protocol):
    """Aligns one batch after the other."""

    def __call__(self, q: Tensor) -> Tensor:
        """Map probabilities ``(B, C)`` to aligned ones, without gradient."""


def aligned(q: Tensor, mean: Tensor) -> Tensor:
    """Divide probabilities ``(B, C)`` by those that they have on average, ``(C,)`` up to a factor, and let the rows sum to 1 again."""
    q = q / mean.clamp(min=torch.finfo(mean.dtype).tiny)  # a class that no sample has any probability of stays at 0

    return q / q.sum(dim=1, keepdim=True)


class NoAlignment:
    """Leave probabilities as they are."""

    def __call__(self, q: Tensor) -> Tensor:
        """Return ``q``."""
        return q


class QueueAlignment:
    """
    Align by the mean over the means of the last batches.

    Args:
        length: How many batches are remembered.
    """

    def __init__(self, length: int = QUEUE_LENGTH) -> None:
        self._means: list[Tensor] = []
        self._length = length

    def __call__(self, q: Tensor) -> Tensor:
        """Take the batch's mean in and align the batch."""
        self._means = [*self._means, q.detach().mean(dim=0)][-self._length :]

        return aligned(q.detach(), torch.stack(self._means).mean(dim=0))


class RunningMeanAlignment:
    """
    Align by an exponential average of the batches' means, which begins with the first one.

    Args:
        decay: Weight of the past.
    """

    def __init__(self, decay: float = DECAY) -> None:
        self.mean: Tensor | None = None
        self._decay = decay

    def __call__(self, q: Tensor) -> Tensor:
        """Take the batch's mean in and align the batch."""
        batch = q.detach().mean(dim=0)
        self.mean = batch if self.mean is None else self._decay * self.mean + (1 - self._decay) * batch

        return aligned(q.detach(), self.mean)


def build_alignment(kind: Literal["queue", "running_mean"]) -> Alignment:
    """Build an alignment with the lengths of the released codes: 32 batches, or a decay of 0.999."""
    return QueueAlignment() if kind == "queue" else RunningMeanAlignment()
