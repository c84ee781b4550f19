"""Losses of adversarial training and of class imbalance, pure functions of logits; none is reduced unless it says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, one_hot, softmax

from harness import Search

if TYPE_CHECKING:
    from harness.training.supervised import Batch

__all__ = [
    "BURN_IN",
    "ClassLoss",
    "boosted_cross_entropy",
    "class_weights",
    "divergences",
    "focal_loss",
    "gairat_weights",
    "ldam_loss",
    "ldam_margins",
    "mail_weights",
    "mart_loss",
    "probabilistic_margins",
    "trades_loss",
]

LOSS_WEIGHT = Search(0.5, 10.0, log=True)
"""Where suites look for the weight of a method's own term: from what short runs need to what papers have, one range for all."""

BURN_IN = Search(choices=(0.25, 0.5, 0.65, 0.8))
"""Where suites look for the share of the steps before samples are weighted."""

Weighting = Literal["none", "inverse_frequency", "effective_number"]


def divergences(clean: Tensor, moved: Tensor) -> Tensor:
    """
    Return ``KL(softmax(clean) || softmax(moved))``, ``(B,)``; gradients flow through both.

    Args:
        clean: ``(B, C)``, logits of pictures as they are.
        moved: ``(B, C)``, logits of attacked ones.
    """
    log_p, log_q = log_softmax(clean, dim=1), log_softmax(moved, dim=1)

    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def trades_loss(clean: Tensor, moved: Tensor, y: Tensor, beta: float) -> Tensor:
    """Return ``CE(clean) + beta KL(clean || moved)``, mean over the batch (Zhang et al. 2019, arXiv:1901.08573)."""
    return cross_entropy(clean, y) + beta * divergences(clean, moved).mean()


def boosted_cross_entropy(moved: Tensor, y: Tensor) -> Tensor:
    """Return ``-log p_y - log(1 - max_{j != y} p_j)``, ``(B,)`` (MART, Wang et al. 2020), with the released constants that keep it finite."""
    others = softmax(moved, dim=1).scatter(1, y[:, None], 0.0).amax(dim=1)

    return cross_entropy(moved, y, reduction="none") - (1.0001 - others + 1e-12).log()


def mart_loss(clean: Tensor, moved: Tensor, y: Tensor, beta: float) -> Tensor:
    """Return the boosted cross entropy plus ``beta (1 - p_y(clean)) KL(clean || moved)``, mean over the batch (MART, Wang et al. 2020)."""
    doubt = 1.0000001 - softmax(clean, dim=1).gather(1, y[:, None]).squeeze(1)

    return boosted_cross_entropy(moved, y).mean() + beta * (doubt * divergences(clean, moved)).mean()


def gairat_weights(steps_right: Tensor, steps: int, shift: float, form: Literal["tanh", "sigmoid", "discrete"]) -> Tensor:
    """
    Weigh samples by how early an attack succeeds (Zhang et al. 2021, arXiv:2010.01736); the mean over the batch is 1.

    Args:
        steps_right: ``(B,)`` in 0..K, the points of the walk that are still right; 0 gets the largest weight.
        steps: K, at least 2.
        shift: Lambda; the larger, the more equal ``tanh`` and ``sigmoid`` are.
        form: Of the decreasing function.
    """
    kappa = steps_right if steps_right.is_floating_point() else steps_right.float()
    half = steps // 2
    if form == "discrete":
        raw = (steps + 1 - kappa) / (steps + 1)
    else:
        ease = shift + 5 * (half - kappa) / half
        raw = (torch.tanh(ease) + 1) / 2 if form == "tanh" else torch.sigmoid(ease)
    total = raw.sum()

    return torch.where(total > 0, raw * len(raw) / total, torch.ones_like(raw))  # tanh may round to -1 for all


def probabilistic_margins(moved: Tensor, y: Tensor) -> Tensor:
    """Return ``max_{j != y} p_j - p_y``, ``(B,)`` in [-1, 1] (Wang et al. 2021, arXiv:2106.07904)."""
    p = softmax(moved, dim=1)

    return p.scatter(1, y[:, None], 0.0).amax(dim=1) - p.gather(1, y[:, None]).squeeze(1)


def mail_weights(margins: Tensor, slope: float, bias: float) -> Tensor:
    """Return ``3 sigmoid(slope (margin + bias))``, ``(B,)``, as the released code of MAIL has it, which does not normalise."""
    return 3 * torch.sigmoid(slope * (margins + bias))


def class_weights(counts: Tensor, weighting: Weighting, beta: float = 0.9999) -> Tensor:
    """
    Return the weight of each class, that of the largest 1.

    ``inverse_frequency`` is ``max n / n_c``; ``effective_number`` is ``max E / E_c`` with ``E_c = 1 - beta^n_c`` (Cui et al. 2019, arXiv:1901.05555).

    Args:
        counts: ``(C,)``, training samples; a class without any counts as one of a single sample, whose weight no loss ever reads.
        weighting: Which.
        beta: In [0, 1).
    """
    sizes = counts.double().clamp(min=1)
    if weighting == "none":
        weights = torch.ones_like(sizes)
    elif weighting == "inverse_frequency":
        weights = sizes.max() / sizes
    else:
        effective = 1 - beta**sizes
        weights = effective.max() / effective

    return weights


def focal_loss(logits: Tensor, y: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """Return the mean of ``(1 - exp(-w l))^gamma w l``, ``l`` the cross entropy; the class weight is inside of the focus, as in the code of LDAM-DRW."""
    weighted = weights[y] * cross_entropy(logits, y, reduction="none")

    return ((1 - torch.exp(-weighted)) ** gamma * weighted).mean()


def ldam_margins(counts: Tensor, largest: float) -> Tensor:
    """Return margins proportional to ``n_c^(-1/4)``, the largest as given (Cao et al. 2019, arXiv:1906.07413); 0 samples count as 1."""
    margins = counts.double().clamp(min=1) ** -0.25

    return largest * margins / margins.max()


def ldam_loss(logits: Tensor, y: Tensor, weights: Tensor, margins: Tensor, scale: float) -> Tensor:
    """Return the weighted mean cross entropy of ``scale`` times the logits, that of the label less its margin (Cao et al. 2019, arXiv:1906.07413)."""
    lowered = logits - one_hot(y, logits.shape[1]) * margins

    return cross_entropy(scale * lowered, y, weight=weights)


@dataclass
class ClassLoss:
    """
    The loss of labels, with a weight for each class, from the start or deferred.

    Args:
        loss: ``ce`` and ``ldam`` are weighted means; ``focal`` has its weight inside of the focus.
        weighting: Of classes by their training samples (:func:`class_weights`).
        weighted_from: Share of the steps behind which classes are weighted; 0 is from the start.
        effective_beta: Of ``effective_number``.
        focal_gamma: Of ``focal``.
        ldam_margin: Of the rarest class, for ``ldam``.
        ldam_scale: Of the logits, for ``ldam``.
    """

    loss: Literal["ce", "focal", "ldam"] = "ce"
    weighting: Weighting = "none"
    weighted_from: Annotated[float, Ge(0), Le(1), Search(choices=(0.0, 0.5, 0.7, 0.8, 0.9))] = 0.0
    effective_beta: Annotated[float, Ge(0), Lt(1)] = 0.9999
    focal_gamma: Annotated[float, Ge(0), Search(0.5, 2.0)] = 1.0
    ldam_margin: Annotated[float, Gt(0), Search(choices=(0.25, 0.5, 1.0))] = 0.5
    ldam_scale: Annotated[float, Gt(0), Search(choices=(1.0, 10.0, 30.0))] = 30.0

    def classify(self, logits: Tensor, batch: Batch, counts: Tensor) -> Tensor:
        """
        Return the loss of a batch, reduced.

        Args:
            logits: ``(B, C)``.
            batch: Its labels and its progress count.
            counts: ``(C,)``, training samples of each class.
        """
        weighting = self.weighting if batch.progress >= self.weighted_from else "none"
        weights = class_weights(counts, weighting, self.effective_beta).to(logits)
        if self.loss == "focal":
            return focal_loss(logits, batch.y, weights, self.focal_gamma)
        if self.loss == "ldam":
            return ldam_loss(logits, batch.y, weights, ldam_margins(counts, self.ldam_margin).to(logits), self.ldam_scale)

        return cross_entropy(logits, batch.y, weight=weights)
