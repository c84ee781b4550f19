"""The recipe that the methods of a suite share: network, optimiser, batches, schedule, augmentation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from harness.specs import Search
from harness.training.image_recipe import ImageRecipe
from harness.training.schedules import decayed

__all__ = ["ContinualRecipe"]

FALL = 0.1  # what the rate is multiplied with at a milestone


@dataclass
class ContinualRecipe(ImageRecipe):
    """
    How a network is built and trained on one experience, apart from the method (see :class:`harness.training.image_recipe.ImageRecipe`).

    The optimiser begins anew with each experience, and the schedule runs over it.

    Args:
        schedule: Of the learning rate within an experience: ``steps`` multiplies it with 0.1 at each of ``milestones``, ``restarts`` is two periods of
            ``cosine``.
        milestones: Shares of an experience's steps.
        optimizer: ``sgd``, or ``adamw``, whose decay is multiplied with the rate.
        learning_rate: At its highest.
        momentum: Of SGD.
        weight_decay: On all weights, those of the head included.
        jitter: Training samples are multiplied with a number within ``1 - jitter .. 1 + jitter`` each, and get noise of this standard deviation.
        label_smoothing: Of the base, and of methods that have a head for each experience; the losses of the others are those of their papers.
    """

    schedule: Literal["constant", "cosine", "steps", "restarts"] = "steps"  # type: ignore[assignment]  # two more than the toolkit's, which rate() treats
    milestones: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (0.6, 0.85)
    batch_size: Annotated[int, Ge(2)] = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Gt(0), Search(1e-3, 3e-1, log=True)] = 0.05
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    weight_decay: Annotated[float, Ge(0), Search(choices=(0.0, 2e-4, 1e-3, 5e-3, 2e-2))] = 2e-4
    jitter: Annotated[float, Ge(0), Lt(1)] = 0.0
    label_smoothing: Annotated[float, Ge(0), Le(1)] = 0.0

    def build_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """Build the optimiser of one experience."""
        settings: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimizer == "adamw":
            return AdamW(parameters, **settings)

        return SGD(parameters, momentum=self.momentum, **settings)

    def rate(self, step: int, steps: int) -> float:
        """Return what the learning rate is multiplied with where ``step`` of the ``steps`` steps of an experience are done."""
        progress = min(step / steps, 1.0)
        if self.schedule == "steps":
            return FALL ** sum(progress >= milestone for milestone in self.milestones)
        if self.schedule == "restarts":
            return decayed(2 * progress % 1, "cosine")

        return decayed(progress, self.schedule)

    def augment(self, x: Tensor, *generators: torch.Generator) -> Tensor:
        """Return a batch as it is trained on, or as one of several views of it."""
        changed = super().augment(x, *generators)
        if self.jitter == 0:
            return changed
        (generator,) = generators
        one_each = (len(x), *(1 for _ in x.shape[1:]))
        gain = 1 + self.jitter * (2 * torch.rand(one_each, generator=generator) - 1)

        return changed * gain.to(x.device) + self.jitter * torch.randn(x.shape, generator=generator).to(x.device)
