"""Generalised cross entropy (Zhang & Sabuncu, 2018): a loss between cross entropy, which learns fast, and mean absolute error, which ignores outliers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor
from torch.nn.functional import log_softmax

from harness import Search
from plugins.tasks.noisy_labels.loop import Batch, fit_by_loss

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["GCE", "generalised_cross_entropy", "is_kept", "truncation_loss"]


def generalised_cross_entropy(logits: Tensor, target: Tensor, q: float) -> Tensor:
    """
    Interpolate between cross entropy (q -> 0) and ``1 - p_y``, half the mean absolute error (q = 1).

    The loss of a sample is ``(1 - p_y ** q) / q`` (equation 6 of arXiv:1805.07836): confident mistakes, which wrong labels cause, weigh less than under
    cross entropy. The gradient with respect to the logits is ``p_y ** q * (p - onehot(y))``, that of cross entropy times an implicit weight.

    Args:
        logits: ``(N, C)``, unnormalised.
        target: ``(N,)``, class indices.
        q: In (0, 1].

    Returns:
        ``(N,)``, the loss of each sample, not reduced.
    """
    log_p = log_softmax(logits, dim=1).gather(1, target[:, None]).squeeze(1)

    return -torch.expm1(q * log_p) / q  # expm1: no cancellation for small q


def truncation_loss(k: float, q: float) -> float:
    """Return ``L_q(k) = (1 - k ** q) / q``, the constant loss of a pruned sample in the truncated variant; ``k`` in (0, 1)."""
    return (1 - k**q) / q


def is_kept(logits: Tensor, target: Tensor, k: float, q: float) -> Tensor:
    """
    Return which samples the truncated variant keeps, ``(N,)`` bool: those of a smaller loss than ``L_q(k)``, which are those with ``p_y > k``.

    The truncated loss is ``mean(kept * (L_q - L_q(k)))``, where ``kept`` comes from a pass over the training set now and then and stays fixed between.
    """
    return generalised_cross_entropy(logits, target, q) < truncation_loss(k, q)


@dataclass
class GCE:
    """
    Minimise the mean of :func:`generalised_cross_entropy`, without truncation.

    Args:
        q: 0 is cross entropy, 1 half the mean absolute error; 0.7 in the paper.
    """

    q: Annotated[float, Gt(0), Le(1), Search(0.1, 1.0)] = 0.7

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train one network; the weight of a sample is the factor ``p_y ** q`` of its gradient."""

        def loss(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
            losses = generalised_cross_entropy(logits, batch.y, self.q)

            return losses.mean(), 1 - self.q * losses.detach()  # L_q = (1 - p_y ** q) / q, solved for p_y ** q

        return fit_by_loss(data, run, loss)
