"""What attacks make as large as they can: functions of logits ``(B, C)`` and labels ``(B,)`` that give ``(B,)``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

__all__ = ["Objective", "cw_margin", "divergence", "dlr", "label_loss", "targeted_dlr", "wrong_margin"]

Objective = Callable[[Tensor, Tensor], Tensor]

CONFIDENCE = 50.0
TINY = 1e-12  # as in AutoAttack: keeps equal logits from dividing by 0


def label_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross entropy of each sample."""
    return cross_entropy(logits, y, reduction="none")


def wrong_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return ``max_{j != y} z_j - z_y``: above 0 where the answer is wrong."""
    label = y[:, None]
    others = logits.scatter(1, label, -torch.inf).amax(dim=1)

    return others - logits.gather(1, label).squeeze(1)


def cw_margin(logits: Tensor, y: Tensor, confidence: float = CONFIDENCE) -> Tensor:
    """
    Return ``-max(z_y - max_{j != y} z_j + confidence, 0)``: what papers on adversarial training call the CW attack (after Carlini & Wagner 2017,
    arXiv:1608.04644).

    Args:
        logits: ``(B, C)``, unnormalised.
        y: ``(B,)``.
        confidence: By how much a wrong class may lead before more is worth nothing.
    """
    return -(confidence - wrong_margin(logits, y)).clamp(min=0)


def divergence(clean: Tensor) -> Objective:
    """Return the objective ``KL(softmax(clean) || softmax(logits))``, blind to labels, which TRADES attacks with (Zhang et al. 2019, arXiv:1901.08573)."""
    log_p = log_softmax(clean.detach(), dim=1)

    return lambda logits, y: (log_p.exp() * (log_p - log_softmax(logits, dim=1))).sum(dim=1)


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """
    Return the difference of logits ratio (Croce & Hein 2020, arXiv:2003.01690), which no scale of the logits changes.

    Raises:
        ValueError: There are fewer than 3 classes.
    """
    ranked = _ranked(logits, 3)

    return wrong_margin(logits, y) / (ranked[:, 0] - ranked[:, 2] + TINY)


def targeted_dlr(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """
    Return its targeted form: how far class ``target``, ``(B,)``, leads the label.

    Raises:
        ValueError: There are fewer than 4 classes.
    """
    ranked = _ranked(logits, 4)
    lead = (logits.gather(1, target[:, None]) - logits.gather(1, y[:, None])).squeeze(1)

    return lead / (ranked[:, 0] - 0.5 * (ranked[:, 2] + ranked[:, 3]) + TINY)


def _ranked(logits: Tensor, n: int) -> Tensor:
    if logits.shape[1] < n:
        raise ValueError(f"this objective ranks {n} classes, the network has {logits.shape[1]}")

    return logits.topk(n, dim=1).values
