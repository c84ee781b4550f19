"""TRADES (Zhang et al. 2019, arXiv:1901.08573): labels on pictures as they are, and the same answer wherever an attack moves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from plugins.tasks.adversarial.losses import LOSS_WEIGHT, trades_loss
from plugins.tasks.adversarial.training import AdversarialTraining, Trained, build_network

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.adversarial.protocol import AdversarialView

__all__ = ["TRADES"]


@dataclass
class TRADES:
    """
    Minimise :func:`plugins.tasks.adversarial.losses.trades_loss`; the attack ascends the divergence.

    Args:
        beta: Of the divergence; 0 is natural training.
    """

    beta: Annotated[float, Ge(0), LOSS_WEIGHT] = 6.0

    def fit(self, data: AdversarialView, run: Run) -> Trained:
        """Train."""
        training = AdversarialTraining(build_network(data, run), data, run)
        for batch in training.batches():
            moved = training.attack(batch.x, batch.y, "kl", "gaussian").x
            loss = trades_loss(training.logits(batch.x), training.logits(moved), batch.y, self.beta)
            training.descend(loss, samples=2 * len(batch.x))

        return training.trained()
