"""MART (Wang et al. 2020, "Improving Adversarial Robustness Requires Revisiting Misclassified Examples", ICLR): more weight on what is misclassified anyway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from plugins.tasks.adversarial.losses import LOSS_WEIGHT, mart_loss
from plugins.tasks.adversarial.training import AdversarialTraining, Trained, build_network

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.adversarial.protocol import AdversarialView

__all__ = ["MART"]


@dataclass
class MART:
    """
    Minimise :func:`plugins.tasks.adversarial.losses.mart_loss`; the attack ascends cross entropy from next to the pictures.

    Args:
        beta: Of the weighted divergence.
    """

    beta: Annotated[float, Ge(0), LOSS_WEIGHT] = 5.0

    def fit(self, data: AdversarialView, run: Run) -> Trained:
        """Train."""
        training = AdversarialTraining(build_network(data, run), data, run)
        for batch in training.batches():
            moved = training.attack(batch.x, batch.y, start="gaussian").x
            loss = mart_loss(training.logits(batch.x), training.logits(moved), batch.y, self.beta)
            training.descend(loss, samples=2 * len(batch.x))

        return training.trained()
