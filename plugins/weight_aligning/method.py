"""Weight aligning (Zhao et al. 2020, arXiv:1911.07053): the mathematics as pure functions, then the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
from annotated_types import Gt
from torch import Tensor

from harness import Search, TrialDiverged, TrialUnsupported
from plugins.tasks.class_incremental.exemplars import keep_exemplars
from plugins.tasks.class_incremental.losses import balanced_loss
from plugins.tasks.class_incremental.stream import joined
from plugins.tasks.class_incremental.training import Training, frozen_copy, labels_loss, next_network, score

if TYPE_CHECKING:
    from harness import Run
    from harness.training.networks import Network
    from plugins.tasks.class_incremental.stream import Experience

__all__ = ["Aligned", "WeightAligning", "align"]


class Aligned(NamedTuple):
    """
    A head whose new rows are as long as the old ones, on average.

    Args:
        gamma: What the new rows were multiplied with.
        weight: ``(C, d)``.
    """

    gamma: float
    weight: Tensor


def align(weight: Tensor, n_new: int) -> Aligned:
    """
    Scale the new rows of a head by ``gamma = mean |old rows| / mean |new rows|`` (Zhao et al. 2020, equations (8) and (9)).

    Args:
        weight: ``(C, d)``, rows by the order of arrival.
        n_new: How many of the last rows are new, in ``1 .. C``; with C, nothing is old and nothing changes.

    Raises:
        TrialDiverged: All new rows are 0, so that no number makes them longer.
    """
    n_old = len(weight) - n_new
    if n_old == 0:
        return Aligned(1.0, weight.clone())
    norms = torch.linalg.vector_norm(weight, dim=1)
    if float(norms[n_old:].sum()) == 0:
        raise TrialDiverged(f"all {n_new} new rows of the head are 0: nothing can be aligned")
    gamma = norms[:n_old].mean() / norms[n_old:].mean()

    return Aligned(float(gamma), torch.cat([weight[:n_old], gamma * weight[n_old:]]))


@dataclass
class WeightAligning:
    """
    Train on ``(1 - o / C) CE + (o / C) KD`` with a head of non-negative weights, then align.

    Args:
        temperature: Of the distillation.
        distillation: Whether there is any; without it, the cross entropy of new samples and exemplars is all.
        clipping: Whether weights of the head below 0 are set to 0 after each step, which makes norms comparable with logits where features are not negative.
        aligning: Whether new rows are scaled; without it and without clipping this is ``ce_kd``, and without distillation too ``er``.
    """

    temperature: Annotated[float, Gt(0), Search(choices=(1.0, 2.0, 4.0))] = 2.0
    distillation: bool = True
    clipping: bool = True
    aligning: bool = True

    def __post_init__(self) -> None:
        self._network: Network | None = None

    def learn(self, experience: Experience, run: Run) -> None:
        """
        Train, align, then choose the exemplars: what they and the next experience see is the aligned network.

        Raises:
            TrialUnsupported: Weights are to be clipped, and features may be negative.
        """
        old = None if self._network is None else frozen_copy(self._network)
        self._network = network = next_network(self._network, experience, run)
        training = Training(network, joined(experience.train, experience.memory.samples), experience, run)
        for batch in training.batches():
            output = training.outputs(batch.x)
            if self.clipping and bool((output.features < 0).any()):
                raise TrialUnsupported(
                    "weights of the head are clipped at 0, which needs features that are not negative: end the network in a ReLU"
                )
            if old is None or not self.distillation:
                loss = labels_loss(output, batch)
            else:
                with torch.no_grad():
                    said = training.outputs(batch.x, old).logits
                loss = balanced_loss(output.logits, said, batch.y, self.temperature).total
            training.descend(loss)
            if self.clipping:
                network.head.weight.data.clamp_(min=0)
        if self.aligning and experience.n_old > 0:
            gamma, weight = align(network.head.weight.data, experience.n_seen - experience.n_old)
            network.head.weight.data = weight
            run.log(experience.index, gamma=gamma)
        keep_exemplars(network, experience, run)

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the logits of the aligned network."""
        return score(self._network, x)
