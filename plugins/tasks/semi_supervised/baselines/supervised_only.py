"""Supervised learning on the labelled samples alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn.functional import cross_entropy

from plugins.tasks.semi_supervised.steps import SemiSupervisedFit, Training

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.semi_supervised.protocol import SemiSupervised

__all__ = ["SupervisedOnly"]


@dataclass
class SupervisedOnly:
    """Minimise the mean cross entropy of the labelled batches, with the views, schedule and averaging of all methods."""

    def fit(self, data: SemiSupervised, run: Run) -> SemiSupervisedFit:
        """Train without a look at the unlabelled samples."""
        training = Training(data, run)
        for batch in training.batches():
            (logits,) = training.logits(batch.x)
            training.descend(cross_entropy(logits, batch.y), samples=len(batch.x))

        return training.fitted()
