"""
Early-learning regularisation (Liu et al., 2020).

A network learns the right labels before it memorises the wrong ones; a running mean of its own predictions remembers what it thought early, and a
regulariser holds it to that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.noisy_labels.loop import Batch, fit_by_loss

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["ELR", "elr_loss", "updated_targets"]

CLAMP = 1e-4  # of the authors' code: keeps the logarithm of the regulariser finite


def updated_targets(targets: Tensor, logits: Tensor, beta: float) -> Tensor:
    """
    Return ``beta * t + (1 - beta) * p / sum(p)`` (arXiv:2007.00151), ``p`` being the clamped probabilities. No gradient flows through it.

    Args:
        targets: ``(B, C)``, the remembered targets of these samples; 0 before their first update.
        logits: ``(B, C)``.
        beta: In [0, 1).
    """
    p = _clamped_probabilities(logits.detach())

    return beta * targets + (1 - beta) * p / p.sum(dim=1, keepdim=True)


def elr_loss(logits: Tensor, target: Tensor, targets: Tensor, strength: float) -> Tensor:
    """
    Return ``-log p_y + strength * log(1 - <t, p>)``, ``(B,)`` (arXiv:2007.00151).

    The regulariser is negative and falls as ``p`` comes nearer to ``t``.

    Args:
        logits: ``(B, C)``.
        target: ``(B,)``, class indices, or ``(B, C)``, soft labels.
        targets: ``(B, C)``, the remembered targets after their update in this step.
        strength: The paper's lambda; 0 is cross entropy.
    """
    agreement = (targets * _clamped_probabilities(logits)).sum(dim=1)

    return cross_entropy(logits, target, reduction="none") + strength * torch.log1p(-agreement)


def _clamped_probabilities(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1).clamp(CLAMP, 1 - CLAMP)


@dataclass
class ELR:
    """
    Minimise the mean of :func:`elr_loss` against a memory of one target a training sample.

    Args:
        beta: How much of a target stays at each update.
        strength: The paper's lambda, the weight of the regulariser.
    """

    beta: Annotated[float, Ge(0), Lt(1), Search(choices=(0.5, 0.7, 0.9, 0.99))] = 0.7
    strength: Annotated[float, Ge(0), Search(0.3, 30.0, log=True)] = 3.0

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train one network; the weight of a sample is the probability that its remembered target gives to its label."""
        memory = torch.zeros(len(data.train), data.n_classes, device=run.device)

        def loss(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
            targets = updated_targets(memory[batch.index], logits, self.beta)
            memory[batch.index] = targets

            return elr_loss(logits, batch.y, targets, self.strength).mean(), targets.gather(1, batch.y[:, None]).squeeze(1)

        return fit_by_loss(data, run, loss)
