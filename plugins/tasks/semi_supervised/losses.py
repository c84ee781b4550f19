"""Losses of unlabelled batches."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

__all__ = ["masked_cross_entropy"]


def masked_cross_entropy(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """
    Return the mean over ALL samples of the cross entropy of those in the mask; the others count as 0.

    Args:
        logits: ``(B, C)``, of the strong views.
        target: ``(B,)``, classes, or ``(B, C)``, probabilities.
        mask: ``(B,)`` bool, or weights.
    """
    return (mask.to(logits.dtype) * cross_entropy(logits, target, reduction="none")).mean()
