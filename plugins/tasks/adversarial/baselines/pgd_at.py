"""PGD-AT (Madry et al. 2018, arXiv:1706.06083): train on what an attack makes of each batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugins.tasks.adversarial.losses import ClassLoss
from plugins.tasks.adversarial.training import AdversarialTraining, Trained, build_network

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.adversarial.protocol import AdversarialView

__all__ = ["PGDAT"]


@dataclass
class PGDAT(ClassLoss):
    """Minimise the loss of the labels (:class:`plugins.tasks.adversarial.losses.ClassLoss`) on attacked pictures; the attack ascends plain cross entropy."""

    def fit(self, data: AdversarialView, run: Run) -> Trained:
        """Train."""
        training = AdversarialTraining(build_network(data, run), data, run)
        for batch in training.batches():
            moved = training.attack(batch.x, batch.y).x
            training.descend(self.classify(training.logits(moved), batch, data.class_counts))

        return training.trained()
