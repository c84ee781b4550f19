"""Co-teaching (Han et al., 2018): two networks, each trained on what the other finds easy, so that neither confirms its own mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
from annotated_types import Ge, Le, Lt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.noisy_labels.baselines.selection import forget_rates, smallest
from plugins.tasks.noisy_labels.loop import Training, build_network

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["CoTeaching", "Exchange", "exchange"]


class Exchange(NamedTuple):
    """
    What the two networks are trained on.

    Args:
        loss_1: Scalar, the mean loss of network 1 over ``picked_by_2``.
        loss_2: Scalar, the mean loss of network 2 over ``picked_by_1``.
        picked_by_1: Positions of the samples that network 1 picks.
        picked_by_2: Positions of the samples that network 2 picks.
    """

    loss_1: Tensor
    loss_2: Tensor
    picked_by_1: Tensor
    picked_by_2: Tensor


def exchange(losses_1: Tensor, losses_2: Tensor, forget_rate: float) -> Exchange:
    """
    Let each network learn from the samples of smallest loss of the other (algorithm 1 of arXiv:1804.06872).

    Args:
        losses_1: ``(B,)``, of network 1.
        losses_2: ``(B,)``, of network 2, on the same samples.
        forget_rate: Share of the batch that is left out, in [0, 1).
    """
    picked_by_1 = smallest(losses_1.detach(), forget_rate)
    picked_by_2 = smallest(losses_2.detach(), forget_rate)

    return Exchange(losses_1[picked_by_2].mean(), losses_2[picked_by_1].mean(), picked_by_1, picked_by_2)


@dataclass
class CoTeaching:
    """
    Train two networks of different initial weights on the same batches; their probabilities are averaged.

    Args:
        forget_rate: Share of each batch that is left out in the end; ``None`` takes the data's noise rate.
        ramp_fraction: Share of the epochs over which the rate rises from 0.
    """

    forget_rate: Annotated[float, Ge(0), Lt(1)] | None = None
    ramp_fraction: Annotated[float, Ge(0), Le(1), Search(0.1, 0.6)] = 0.2

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train both networks; the weight of a sample is the share of the two that picked it in the last epoch: 0, 0.5 or 1."""
        rates = forget_rates(data, run.budget.require("epochs"), self.forget_rate, self.ramp_fraction)
        networks = [build_network(data, run), build_network(data, run, stream="init_2")]
        training = Training(networks, data.recipe.build_optimizer(*networks), data, run)
        for batch in training.batches():
            losses_1, losses_2 = (cross_entropy(training.logits(batch.x, network), batch.y, reduction="none") for network in networks)
            taught = exchange(losses_1, losses_2, rates[batch.epoch])
            loss = taught.loss_1 + taught.loss_2  # the networks share no parameters, so one backward pass serves both
            votes = torch.zeros_like(losses_1)
            votes[taught.picked_by_1] += 0.5
            votes[taught.picked_by_2] += 0.5
            training.trust(batch, votes)
            training.descend(loss, samples=2 * len(batch.y), train_loss=loss / 2)

        return training.fitted()
