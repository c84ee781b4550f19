"""FixMatch (Sohn et al. 2020, arXiv:2001.07685), without and with distribution alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.semi_supervised.alignment import Alignment, NoAlignment, build_alignment
from plugins.tasks.semi_supervised.losses import masked_cross_entropy
from plugins.tasks.semi_supervised.steps import Guesses, SemiSupervisedFit, Training

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.semi_supervised.protocol import SemiSupervised

__all__ = [
    "FixMatch",
    "FixMatchDA",
    "fit_fixmatch",
]


@dataclass
class FixMatch:
    """
    Train strong views on the class that the weak view of the same sample is certain of.

    Args:
        threshold: τ, the confidence from which a sample counts.
        unlabelled_weight: λ, of the unlabelled loss.
    """

    threshold: Annotated[float, Gt(0), Le(1), Search(0.3, 0.98)] = 0.95
    unlabelled_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0

    def fit(self, data: SemiSupervised, run: Run) -> SemiSupervisedFit:
        """Train."""
        return fit_fixmatch(data, run, NoAlignment(), "hard", self.threshold, self.unlabelled_weight)


@dataclass
class FixMatchDA:
    """
    FixMatch whose predictions on weak views are aligned before they are compared with the threshold; what ShrinkMatch adds its loss to.

    Args:
        threshold: τ, the confidence from which a sample counts.
        unlabelled_weight: λ, of the unlabelled loss.
        alignment: By a ``queue`` of the means of 32 batches, or by a ``running_mean`` of decay 0.999.
        targets: ``soft`` are the aligned probabilities themselves, ``hard`` the best class.
    """

    threshold: Annotated[float, Gt(0), Le(1), Search(0.3, 0.98)] = 0.95
    unlabelled_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    alignment: Literal["queue", "running_mean"] = "queue"
    targets: Literal["soft", "hard"] = "soft"

    def fit(self, data: SemiSupervised, run: Run) -> SemiSupervisedFit:
        """Train."""
        return fit_fixmatch(data, run, build_alignment(self.alignment), self.targets, self.threshold, self.unlabelled_weight)


def fit_fixmatch(
    data: SemiSupervised, run: Run, align: Alignment, targets: Literal["soft", "hard"], threshold: float, unlabelled_weight: float
) -> SemiSupervisedFit:
    """Train as FixMatch does: labelled samples, weak views and strong views in one pass, so that batch normalisation sees them together."""
    training = Training(data, run)
    for batch in training.batches(weak=1, strong=1):
        (strong,) = batch.strong
        labelled, by_weak, by_strong = training.logits(batch.x, *batch.weak, strong)
        q = align(by_weak.detach().softmax(dim=1))
        best, label = q.max(dim=1)
        certain = best >= threshold

        loss_x = cross_entropy(labelled, batch.y)
        loss_u = masked_cross_entropy(by_strong, q if targets == "soft" else label, certain)
        training.descend(
            loss_x + unlabelled_weight * loss_u,
            samples=len(batch.x) + 2 * len(strong),
            guesses=Guesses(batch.index, label, certain, torch.zeros_like(certain)),
            mask_ratio=certain.double().mean(),
        )

    return training.fitted()
