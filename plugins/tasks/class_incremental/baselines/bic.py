"""Bias correction (Wu et al. 2019, arXiv:1905.13260): two numbers for the logits of new classes, learned on balanced samples that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
from annotated_types import Gt, Lt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from harness.training.classifier import LabelledSet
from harness.training.descent import Descent
from plugins.tasks.class_incremental.exemplars import keep_exemplars
from plugins.tasks.class_incremental.losses import balanced_loss
from plugins.tasks.class_incremental.stream import joined
from plugins.tasks.class_incremental.training import Training, frozen_copy, labels_loss, next_network, score

if TYPE_CHECKING:
    from harness import Run
    from harness.training.networks import Network
    from plugins.tasks.class_incremental.stream import Experience

__all__ = ["BiC", "Correction", "corrected"]


class Correction(NamedTuple):
    """What the logits of one experience's classes are multiplied with, and what is added to them."""

    low: int
    high: int
    alpha: Tensor
    beta: Tensor


def corrected(logits: Tensor, corrections: Sequence[Correction]) -> Tensor:
    """Return ``alpha z + beta`` in the columns ``low .. high - 1`` of each correction; the other columns ``(N, C)`` stay."""
    columns = list(logits.unbind(dim=1))
    for low, high, alpha, beta in corrections:
        columns[low:high] = [alpha * column + beta for column in columns[low:high]]

    return torch.stack(columns, dim=1)


@dataclass
class BiC:
    """
    Train as ``ce_kd`` on what is not held out; then learn the correction of the newest classes with the network frozen.

    Args:
        temperature: Of the distillation.
        held_out: Share of a class's exemplars that is held out of each old class, at least one, and as many of each new one.
    """

    temperature: Annotated[float, Gt(0), Search(choices=(1.0, 2.0, 4.0))] = 2.0
    held_out: Annotated[float, Gt(0), Lt(1), Search(choices=(0.1, 0.2, 0.4))] = 0.1

    def __post_init__(self) -> None:
        self._network: Network | None = None
        self._corrections: list[Correction] = []

    def learn(self, experience: Experience, run: Run) -> None:
        """
        Run both stages, then choose the exemplars.

        Raises:
            ValueError: A class has fewer than two exemplars: none could be held out.
        """
        old = None if self._network is None else frozen_copy(self._network)
        self._network = network = next_network(self._network, experience, run)
        samples, balanced = experience.train, None
        if old is not None:
            samples, balanced = self._divide(experience, run)
        training = Training(network, samples, experience, run)
        for batch in training.batches():
            output = training.outputs(batch.x)
            if old is None:
                loss = labels_loss(output, batch)
            else:
                with torch.no_grad():
                    said = corrected(training.outputs(batch.x, old).logits, self._corrections)
                loss = balanced_loss(corrected(output.logits, self._corrections), said, batch.y, self.temperature).total
            training.descend(loss)
        if balanced is not None:
            self._corrections.append(self._learn_correction(network, balanced, experience, run))
        keep_exemplars(network, experience, run)

    def _divide(self, experience: Experience, run: Run) -> tuple[LabelledSet, LabelledSet]:
        """Return what is trained on, and the balanced samples that are held out; stream ``held out t``."""
        share = experience.memory.share(experience.n_old)
        if share < 2:
            raise ValueError(
                f"{experience.memory.capacity} exemplars of {experience.n_old} classes leave none to hold out: two of each are needed"
            )
        n_held = max(1, int(self.held_out * share))
        everything = joined(experience.memory.samples, experience.train)
        order = torch.randperm(len(everything), generator=run.torch_rng(f"held out {experience.index}"))
        held = torch.cat([order[everything.y[order] == label][:n_held] for label in range(experience.n_seen)])
        is_left = torch.ones(len(everything), dtype=torch.bool)
        is_left[held] = False

        return LabelledSet(everything.x[is_left], everything.y[is_left]), LabelledSet(everything.x[held], everything.y[held])

    def _learn_correction(self, network: Network, balanced: LabelledSet, experience: Experience, run: Run) -> Correction:
        """Minimise the cross entropy of the balanced samples, all of them in each step; as many steps as the budget has epochs."""
        recipe, epochs = experience.recipe, run.budget.require("epochs")
        correction = Correction(
            experience.n_old, experience.n_seen, torch.ones((), requires_grad=True), torch.zeros((), requires_grad=True)
        )
        run.count(forward=len(balanced))
        logits = corrected(score(network, balanced.x), self._corrections)
        descent = Descent(recipe.build_optimizer([correction.alpha, correction.beta]), lambda step: recipe.rate(step, epochs))
        for _ in range(epochs):
            descent.backward(cross_entropy(corrected(logits, [correction]), balanced.y))
            descent.step()

        return Correction(correction.low, correction.high, correction.alpha.detach(), correction.beta.detach())

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the corrected logits."""
        return corrected(score(self._network, x), self._corrections)
