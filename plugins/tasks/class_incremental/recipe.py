"""The recipe that the methods of a suite share: network, optimiser, batches, schedule, augmentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor
from torch.optim import SGD, AdamW

from harness.specs import Search
from harness.training.descent import Stepper
from harness.training.image_recipe import ImageRecipe
from harness.training.networks import Network
from harness.training.schedules import decayed
from plugins.tasks.class_incremental.cct import cct

__all__ = ["ContinualRecipe"]

FALL = 0.1  # what the rate is multiplied with at a milestone


@dataclass
class ContinualRecipe(ImageRecipe):
    """
    How a network is built and trained on one experience, apart from the method (see :class:`harness.training.image_recipe.ImageRecipe`).

    The optimiser begins anew with each experience, and the schedule runs over it.

    Args:
        model: As there, or ``cct``, a compact convolutional transformer: ``widths`` are the channels of its tokenizer.
        kernel: Side of the tokenizer's convolutions.
        blocks: Of ``cct``.
        heads: Of attention in ``cct``.
        dropout: Of attention weights in ``cct``, and of branches in its last block.
        schedule: Of the learning rate within an experience: ``steps`` multiplies it with 0.1 at each of ``milestones``, ``restarts`` is two periods of
            ``cosine``.
        milestones: Shares of an experience's steps.
        optimizer: ``sgd``, or ``adamw``, whose decay is multiplied with the rate.
        learning_rate: At its highest.
        head_learning_rate: Where it is given, heads that methods have for each experience are trained by SGD without momentum at this rate.
        momentum: Of SGD.
        weight_decay: On all weights, those of the head included.
        jitter: Training samples are multiplied with a number within ``1 - jitter .. 1 + jitter`` each, and get noise of this standard deviation.
        label_smoothing: Of the base, and of methods that have a head for each experience; the losses of the others are those of their papers.
    """

    model: Literal["mlp", "cnn", "resnet", "wide_resnet", "timm", "cct"] = "cnn"  # type: ignore[assignment]  # one more than the toolkit's
    kernel: Annotated[int, Ge(1)] = 3
    blocks: Annotated[int, Ge(1)] = 2
    heads: Annotated[int, Ge(1)] = 4
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    schedule: Literal["constant", "cosine", "steps", "restarts"] = "steps"  # type: ignore[assignment]  # two more than the toolkit's, which rate() treats
    milestones: tuple[Annotated[float, Gt(0), Lt(1)], ...] = (0.6, 0.85)
    batch_size: Annotated[int, Ge(2)] = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, Gt(0), Search(1e-3, 3e-1, log=True)] = 0.05
    head_learning_rate: Annotated[float, Gt(0)] | None = None
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    weight_decay: Annotated[float, Ge(0), Search(choices=(0.0, 2e-4, 1e-3, 5e-3, 2e-2))] = 2e-4
    jitter: Annotated[float, Ge(0), Lt(1)] = 0.0
    label_smoothing: Annotated[float, Ge(0), Le(1)] = 0.0

    def build_optimizer(self, parameters: Iterable[Tensor], heads: Sequence[Tensor] = ()) -> Stepper:
        """Build the optimiser of one experience; ``heads`` are the parameters that may have a rate of their own."""
        if self.head_learning_rate is not None and heads:
            return _Both(self.build_optimizer(parameters), SGD(heads, lr=self.head_learning_rate))
        settings: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimizer == "adamw":
            return AdamW([*parameters, *heads], **settings)

        return SGD([*parameters, *heads], momentum=self.momentum, **settings)

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

    def _untrained(self, sample_shape: torch.Size, n_classes: int, dropout: float) -> Network:
        if self.model == "cct":
            return cct(sample_shape, n_classes, self.widths, self.kernel, self.blocks, self.heads, self.dropout)

        return super()._untrained(sample_shape, n_classes, dropout)


class _Both:
    """Two optimisers that step together; the schedule moves the rates of the first."""

    def __init__(self, first: Stepper, second: Stepper) -> None:
        self._optimizers = (first, second)
        self.param_groups = first.param_groups

    def step(self) -> None:
        for optimizer in self._optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self._optimizers:
            optimizer.zero_grad()
