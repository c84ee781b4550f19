"""Losses that several methods share."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, softmax

__all__ = ["BalancedLoss", "balanced_loss", "distillation"]


class BalancedLoss(NamedTuple):
    """
    A loss with its parts.

    Args:
        total: ``(1 - share) ce + share kd``.
        ce: Cross entropy of the labels among all classes.
        kd: :func:`distillation`.
        share: Old classes among all.
    """

    total: Tensor
    ce: Tensor
    kd: Tensor
    share: float


def distillation(logits: Tensor, old_logits: Tensor, temperature: float) -> Tensor:
    """
    Return the cross entropy of softened probabilities, ``- mean sum_c softmax(old / T)_c log softmax(new / T)_c``; no factor of T^2.

    Args:
        logits: ``(B, o)``, of the old classes by the network.
        old_logits: ``(B, o)``, by the network before this experience.
        temperature: T, above 0.
    """
    return -(softmax(old_logits / temperature, dim=1) * log_softmax(logits / temperature, dim=1)).sum(dim=1).mean()


def balanced_loss(logits: Tensor, old_logits: Tensor, y: Tensor, temperature: float) -> BalancedLoss:
    """
    Weigh labels and distillation by the share of old classes (Zhao et al. 2020, arXiv:1911.07053; the loss of BiC too).

    Args:
        logits: ``(B, C)``.
        old_logits: ``(B, o)``.
        y: ``(B,)``, class indices.
        temperature: Of the distillation.
    """
    n_old = old_logits.shape[1]
    share = n_old / logits.shape[1]
    ce, kd = cross_entropy(logits, y), distillation(logits[:, :n_old], old_logits, temperature)

    return BalancedLoss((1 - share) * ce + share * kd, ce, kd, share)
