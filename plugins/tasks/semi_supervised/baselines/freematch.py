"""FreeMatch (Wang et al. 2023, arXiv:2205.07246): FixMatch with thresholds that follow the network's confidence, and a loss for diverse predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.semi_supervised.losses import masked_cross_entropy
from plugins.tasks.semi_supervised.steps import Guesses, SemiSupervisedFit, Training

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.semi_supervised.protocol import SemiSupervised

__all__ = ["FreeMatch", "PredictionAverages", "fairness_loss", "follow", "self_adaptive_thresholds"]

QUANTILE = 0.8
EPSILON = 1e-12


class PredictionAverages(NamedTuple):
    """
    Exponential averages over the unlabelled batches; all entries begin with ``1 / C``.

    Args:
        confidence: Scalar τ, of the probability of the best class.
        prediction: ``(C,)``, of the probabilities.
        shares: ``(C,)``, of the share of samples whose best class each is.
    """

    confidence: Tensor
    prediction: Tensor
    shares: Tensor


def follow(
    averages: PredictionAverages | None, q: Tensor, decay: float, level: Literal["mean", "quantile"] = "mean", ceiling: float = 1.0
) -> PredictionAverages:
    """
    Take a batch in.

    Args:
        averages: Before it; ``None`` at the first one.
        q: ``(B, C)``, probabilities by the weak views, without gradient.
        decay: Weight of the past.
        level: What of the batch's confidence is averaged: its mean, or its quantile at 0.8.
        ceiling: τ is cut off here.
    """
    if averages is None:
        even = torch.full_like(q[0], 1 / q.shape[1])
        averages = PredictionAverages(even[0], even, even)
    best, label = q.max(dim=1)
    confidence = best.mean() if level == "mean" else best.quantile(QUANTILE)
    shares = torch.bincount(label, minlength=q.shape[1]).to(q.dtype) / len(q)

    return PredictionAverages(
        confidence=confidence.lerp(averages.confidence, decay).clamp(max=ceiling),
        prediction=q.mean(dim=0).lerp(averages.prediction, decay),
        shares=shares.lerp(averages.shares, decay),
    )


def self_adaptive_thresholds(averages: PredictionAverages) -> Tensor:
    """Return the threshold of each class, ``(C,)``: τ for the one that is predicted most, less for the others, in proportion."""
    return averages.confidence * averages.prediction / averages.prediction.max()


def fairness_loss(logits: Tensor, used: Tensor, averages: PredictionAverages) -> Tensor:
    """
    Return the self-adaptive fairness loss, a *negative* cross entropy: its minimisation drives predictions away from those on average.

    It is the sum of ``A log(a + 1e-12)`` over the classes; ``A`` are the mean probabilities on average, ``a`` those of the used samples, each divided by the
    share of samples that are taken for the class and by its sum. A class that no sample is taken for counts as 0 in either, so that where it has a share
    in ``A`` the loss is large and the gradient is not.

    Args:
        logits: ``(B, C)``, of the strong views; they receive the gradient.
        used: ``(B,)`` bool, the samples that count; the loss is 0 where there is none.
        averages: Of the weak views.
    """
    if not used.any():
        return 0.0 * logits.sum()
    p = logits[used].softmax(dim=1)
    counts = torch.bincount(p.argmax(dim=1), minlength=p.shape[1]).to(p.dtype)

    return (_rebalanced(averages.prediction, averages.shares) * (_rebalanced(p.mean(dim=0), counts) + EPSILON).log()).sum()


def _rebalanced(p: Tensor, shares: Tensor) -> Tensor:
    inverse = 1 / shares
    p = p * torch.where(inverse.isinf(), 0.0, inverse)  # of a share that has decayed below what single precision can invert, too

    return p / p.sum()


@dataclass
class FreeMatch:
    """
    FixMatch in which a sample counts from :func:`self_adaptive_thresholds` on, with the :func:`fairness_loss` of those that count.

    Args:
        unlabelled_weight: λ_u, of the cross entropy of strong views.
        fairness_weight: λ_f, of the fairness loss.
        decay: κ, the weight of the past in the averages; the released code's is that of runs of a million steps.
        level: As in :func:`follow`.
        ceiling: Likewise; the released code has 0.95 on SVHN.
    """

    unlabelled_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    fairness_weight: Annotated[float, Ge(0), Search(choices=(0.0, 0.001, 0.01, 0.05))] = 0.01
    decay: Annotated[float, Ge(0), Lt(1), Search(choices=(0.9, 0.97, 0.99, 0.999))] = 0.999
    level: Literal["mean", "quantile"] = "mean"
    ceiling: Annotated[float, Gt(0), Le(1)] = 1.0

    def fit(self, data: SemiSupervised, run: Run) -> SemiSupervisedFit:
        """Train; a step's samples enter the averages before its thresholds are computed."""
        training = Training(data, run)
        averages = None
        for batch in training.batches(weak=1, strong=1):
            (strong,) = batch.strong
            labelled, by_weak, by_strong = training.logits(batch.x, *batch.weak, strong)
            q = by_weak.detach().softmax(dim=1)
            averages = follow(averages, q, self.decay, self.level, self.ceiling)
            thresholds = self_adaptive_thresholds(averages)
            best, label = q.max(dim=1)
            used = best >= thresholds[label]

            loss_x = cross_entropy(labelled, batch.y)
            loss_u = masked_cross_entropy(by_strong, label, used)
            loss_f = fairness_loss(by_strong, used, averages)
            training.descend(
                loss_x + self.unlabelled_weight * loss_u + self.fairness_weight * loss_f,
                samples=len(batch.x) + 2 * len(strong),
                guesses=Guesses(batch.index, label, used, torch.zeros_like(used)),
                mask_ratio=used.double().mean(),
                mean_threshold=thresholds.double().mean(),
            )

        return training.fitted()
