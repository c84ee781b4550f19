"""SoftMatch (Chen et al. 2023, arXiv:2301.10921): FixMatch in which every sample counts, the less the further its confidence is below the average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
from annotated_types import Ge, Lt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.semi_supervised.alignment import aligned
from plugins.tasks.semi_supervised.losses import masked_cross_entropy
from plugins.tasks.semi_supervised.steps import Guesses, SemiSupervisedFit, Training

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.semi_supervised.protocol import SemiSupervised

__all__ = ["ConfidenceAverages", "SoftMatch", "align_softly", "follow", "gaussian_weights"]

EPSILON = 1e-6


class ConfidenceAverages(NamedTuple):
    """
    Exponential averages over the unlabelled batches.

    Args:
        prediction: ``(C,)``, of the probabilities; begins with the first batch's.
        mean: Scalar μ, of the mean confidence after alignment; begins with ``1 / C``.
        variance: Scalar σ², of its variance within a batch; begins with 1.
    """

    prediction: Tensor
    mean: Tensor
    variance: Tensor


def align_softly(q: Tensor, prediction: Tensor) -> Tensor:
    """Align probabilities ``(B, C)`` by those on average, ``(C,)``, as :func:`aligned` does, but with 1e-6 added to the divisor."""
    return aligned(q, prediction + EPSILON)


def follow(averages: ConfidenceAverages | None, q: Tensor, decay: float) -> ConfidenceAverages:
    """
    Take a batch in.

    Args:
        averages: Before it; ``None`` at the first one.
        q: ``(B, C)``, probabilities by the weak views, without gradient, of two samples at least.
        decay: Weight of the past.
    """
    if averages is None:
        averages = ConfidenceAverages(q.mean(dim=0), q.new_tensor(1 / q.shape[1]), q.new_tensor(1.0))
    prediction = q.mean(dim=0).lerp(averages.prediction, decay)
    best = align_softly(q, prediction).amax(dim=1)

    return ConfidenceAverages(prediction, best.mean().lerp(averages.mean, decay), best.var().lerp(averages.variance, decay))


def gaussian_weights(q: Tensor, averages: ConfidenceAverages, n_sigma: float) -> Tensor:
    """
    Return the weight of each sample, ``(B,)``: 1 from the mean confidence on, below it ``exp(-(n_sigma distance)² / (2 σ²))``.

    Args:
        q: ``(B, C)``, probabilities by the weak views, before alignment.
        averages: With this batch in them.
        n_sigma: 0 makes all weights 1; the larger, the nearer a hard mask at μ.
    """
    below = (align_softly(q, averages.prediction).amax(dim=1) - averages.mean).clamp(max=0)

    return (-((n_sigma * below) ** 2) / (2 * averages.variance)).exp()


@dataclass
class SoftMatch:
    """
    FixMatch with :func:`gaussian_weights` in the place of a threshold; alignment decides weights alone, labels are those before it.

    Args:
        unlabelled_weight: λ_u, of the unlabelled loss.
        n_sigma: n, by which the distance from the mean confidence is multiplied.
        decay: κ, the weight of the past in the averages; the released code's is that of runs of a million steps.
    """

    unlabelled_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    n_sigma: Annotated[float, Ge(0), Search(1.0, 3.0)] = 2.0
    decay: Annotated[float, Ge(0), Lt(1), Search(choices=(0.9, 0.97, 0.99, 0.999))] = 0.999

    def fit(self, data: SemiSupervised, run: Run) -> SemiSupervisedFit:
        """Train; a step's samples enter the averages before they are weighted."""
        training = Training(data, run)
        averages = None
        for batch in training.batches(weak=1, strong=1):
            (strong,) = batch.strong
            labelled, by_weak, by_strong = training.logits(batch.x, *batch.weak, strong)
            q = by_weak.detach().softmax(dim=1)
            averages = follow(averages, q, self.decay)
            weight = gaussian_weights(q, averages, self.n_sigma)
            label = q.argmax(dim=1)
            used = weight > 0

            loss_x = cross_entropy(labelled, batch.y)
            loss_u = masked_cross_entropy(by_strong, label, weight)
            training.descend(
                loss_x + self.unlabelled_weight * loss_u,
                samples=len(batch.x) + 2 * len(strong),
                guesses=Guesses(batch.index, label, used, torch.zeros_like(used)),
                mask_ratio=used.double().mean(),
                mean_weight=weight.double().mean(),
            )

        return training.fitted()
