"""Weights of tokens in the style of the focal loss (Lin et al., 2017, arXiv:1708.02002)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from harness import Search
from plugins.tasks.lm_pretraining.protocol import pretrain

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_pretraining.protocol import BatchLosses, PretrainingView, Trained

__all__ = ["Focal", "focal_weights"]


def focal_weights(losses: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """
    Return ``(1 - p)^γ`` with ``p = exp(-l)``, divided by the sum over the batch: ``(M, T)``, summing to 1 over the mask, without gradient.

    Equal weights where all are 0, which happens when every token is certain.

    Args:
        losses: ``(M, T)``, not negative.
        mask: ``(M, T)`` bool, the tokens that count.
        gamma: γ; 0 weighs all alike.
    """
    weights = (-torch.expm1(-losses.detach())).clamp(min=0) ** gamma * mask  # expm1: no cancellation for a likely token
    total = weights.sum()

    return torch.where(total > 0, weights / total, mask / mask.sum())


@dataclass
class Focal:
    """
    Minimise the mean over tokens, each weighed by ``(1 - p)^γ``.

    The weights sum to 1 over the batch and have no gradient; those of the paper's loss do neither.

    Args:
        gamma: γ, 2 in the paper.
    """

    gamma: Annotated[float, Ge(0), Search(0.1, 5.0, log=True)] = 2.0

    def fit(self, data: PretrainingView, run: Run) -> Trained:
        """Train the model."""
        return pretrain(data, run, self.loss)

    def loss(self, losses: BatchLosses) -> Tensor:
        """Return the weighted mean."""
        return (focal_weights(losses.tokens, losses.mask, self.gamma) * losses.tokens).sum()
