"""FlexMatch (Zhang et al. 2021, arXiv:2110.08263): FixMatch with thresholds that follow what has been learned of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.semi_supervised.losses import masked_cross_entropy
from plugins.tasks.semi_supervised.steps import Guesses, SemiSupervisedFit, Training

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.semi_supervised.protocol import SemiSupervised

__all__ = ["FlexMatch", "LearningStatus", "class_thresholds", "learning_status"]


def learning_status(counts: Tensor, n_never: Tensor | int, warm_up: bool = True) -> Tensor:
    """
    Return how far each class has been learned, β in [0, 1].

    Args:
        counts: ``(C,)``, how many unlabelled samples were last taken for each class with confidence.
        n_never: How many never were.
        warm_up: Whether these count in the divisor, so that the status begins at 0 for all classes.
    """
    most = counts.max()
    divisor = torch.clamp(most, min=n_never) if warm_up else most

    return counts / divisor.clamp(min=1)


def class_thresholds(status: Tensor, threshold: float) -> Tensor:
    """Return ``τ β / (2 - β)``, ``(C,)``: 0 for a class of which nothing has been learned, τ for the one that is furthest."""
    return threshold * (status / (2 - status))


class LearningStatus:
    """
    The class that each unlabelled sample was last taken for with confidence, and running counts of these.

    Args:
        n_samples: Unlabelled samples.
        n_classes: Number of classes C.
        device: Where the table is kept.
    """

    def __init__(self, n_samples: int, n_classes: int, device: str = "cpu") -> None:
        self.labels = torch.full((n_samples,), -1, device=device)
        self._counts = torch.zeros(n_classes + 1, dtype=torch.int64, device=device)  # the last one counts the samples that never were
        self._counts[-1] = n_samples

    @property
    def counts(self) -> Tensor:
        """``(C,)``, samples by class."""
        return self._counts[:-1]

    @property
    def n_never(self) -> Tensor:
        """Samples that were never taken for any class with confidence."""
        return self._counts[-1]

    def update(self, index: Tensor, label: Tensor) -> None:
        """
        Take in samples; one that is there twice keeps either label.

        Args:
            index: ``(n,)``, positions in the table.
            label: ``(n,)``, their classes.
        """
        changed = index.unique()
        size = len(self._counts)
        self._counts -= torch.bincount(self.labels[changed] % size, minlength=size)  # -1 % size is the last one
        self.labels[index] = label
        self._counts += torch.bincount(self.labels[changed], minlength=size)


@dataclass
class FlexMatch:
    """
    FixMatch in which a sample counts from the threshold of its class on (:func:`class_thresholds`).

    Args:
        threshold: τ, the threshold of the class that has been learned best, and the confidence from which a sample enters the status.
        unlabelled_weight: λ, of the unlabelled loss.
        warm_up: As in :func:`learning_status`.
    """

    threshold: Annotated[float, Gt(0), Le(1), Search(0.3, 0.98)] = 0.95
    unlabelled_weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    warm_up: bool = True

    def fit(self, data: SemiSupervised, run: Run) -> SemiSupervisedFit:
        """Train; thresholds are computed before a step's samples enter the status."""
        training = Training(data, run)
        learned = LearningStatus(len(data.unlabelled), data.n_classes, run.device)
        for batch in training.batches(weak=1, strong=1):
            (strong,) = batch.strong
            labelled, by_weak, by_strong = training.logits(batch.x, *batch.weak, strong)
            best, label = by_weak.detach().softmax(dim=1).max(dim=1)
            thresholds = class_thresholds(learning_status(learned.counts, learned.n_never, self.warm_up), self.threshold)
            used = best >= thresholds[label]
            certain = best >= self.threshold
            learned.update(batch.index[certain], label[certain])

            loss_x = cross_entropy(labelled, batch.y)
            loss_u = masked_cross_entropy(by_strong, label, used)
            training.descend(
                loss_x + self.unlabelled_weight * loss_u,
                samples=len(batch.x) + 2 * len(strong),
                guesses=Guesses(batch.index, label, used, torch.zeros_like(used)),
                mask_ratio=used.double().mean(),
                mean_threshold=thresholds.double().mean(),
            )

        return training.fitted()
