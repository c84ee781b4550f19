"""MAIL (Wang et al. 2021, "Probabilistic Margins for Instance Reweighting in Adversarial Training", arXiv:2106.07904), over PGD-AT and over TRADES."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.adversarial.losses import BURN_IN, LOSS_WEIGHT, divergences, mail_weights, probabilistic_margins
from plugins.tasks.adversarial.training import AdversarialTraining, Trained, build_network

if TYPE_CHECKING:
    from torch import Tensor

    from harness import Run
    from plugins.tasks.adversarial.protocol import AdversarialView

__all__ = ["MAILAT", "MAILTRADES"]

SLOPE = Search(1.0, 20.0, log=True)
BIAS = Search(-1.0, 1.0)
EARLY = 76 / 120  # of the released schedule, one epoch behind the first fall of the rate


@dataclass
class MAILAT:
    """
    Minimise the cross entropy of attacked pictures, weighted by their margins (:func:`plugins.tasks.adversarial.losses.mail_weights`).

    Args:
        slope: Of the weights.
        bias: Likewise.
        burn_in: Share of the steps before there are weights; 1 is ``pgd_at``.
    """

    slope: Annotated[float, Gt(0), SLOPE] = 10.0
    bias: Annotated[float, Ge(-1), Le(1), BIAS] = -0.5
    burn_in: Annotated[float, Ge(0), Le(1), BURN_IN] = EARLY

    def fit(self, data: AdversarialView, run: Run) -> Trained:
        """Train."""
        training = AdversarialTraining(build_network(data, run), data, run)
        for batch in training.batches():
            logits = training.logits(training.attack(batch.x, batch.y).x)
            losses = cross_entropy(logits, batch.y, reduction="none")
            if batch.progress >= self.burn_in:
                losses = _weights(training, logits, batch.y, self.slope, self.bias) * losses
            training.descend(losses.mean())

        return training.trained()


@dataclass
class MAILTRADES:
    """
    Minimise the loss of TRADES, its divergence weighted by margins.

    Args:
        beta: Of the divergence.
        slope: Of the weights.
        bias: Likewise.
        burn_in: Share of the steps before there are weights; 1 is ``trades``.
    """

    beta: Annotated[float, Ge(0), LOSS_WEIGHT] = 5.0
    slope: Annotated[float, Gt(0), SLOPE] = 2.0
    bias: Annotated[float, Ge(-1), Le(1), BIAS] = 0.0
    burn_in: Annotated[float, Ge(0), Le(1), BURN_IN] = EARLY

    def fit(self, data: AdversarialView, run: Run) -> Trained:
        """Train."""
        training = AdversarialTraining(build_network(data, run), data, run)
        for batch in training.batches():
            moved = training.attack(batch.x, batch.y, "kl", "gaussian").x
            clean, logits = training.logits(batch.x), training.logits(moved)
            apart = divergences(clean, logits)
            if batch.progress >= self.burn_in:
                apart = _weights(training, logits, batch.y, self.slope, self.bias) * apart
            training.descend(cross_entropy(clean, batch.y) + self.beta * apart.mean(), samples=2 * len(batch.x))

        return training.trained()


def _weights(training: AdversarialTraining, logits: Tensor, y: Tensor, slope: float, bias: float) -> Tensor:
    return training.weigh(mail_weights(probabilistic_margins(logits, y), slope, bias))
