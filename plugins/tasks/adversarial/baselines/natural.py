"""Natural training: pictures as they are, which leaves a network that the smallest change of the pixels deceives. The lower bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugins.tasks.adversarial.losses import ClassLoss
from plugins.tasks.adversarial.training import AdversarialTraining, Trained, build_network

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.adversarial.protocol import AdversarialView

__all__ = ["Natural"]


@dataclass
class Natural(ClassLoss):
    """Minimise the loss of the labels (:class:`plugins.tasks.adversarial.losses.ClassLoss`) on pictures as they are."""

    def fit(self, data: AdversarialView, run: Run) -> Trained:
        """Train."""
        training = AdversarialTraining(build_network(data, run), data, run)
        for batch in training.batches():
            training.descend(self.classify(training.logits(batch.x), batch, data.class_counts))

        return training.trained()
