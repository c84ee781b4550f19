"""
The stream: experiences one after the other, each with classes of its own, and the memory, which is all that is left of those before.

Classes are numbered by the order of their arrival: those of experience 0 are 0, 1, ..., and those that have been seen are always the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData

if TYPE_CHECKING:
    from plugins.tasks.class_incremental.recipe import ContinualRecipe

__all__ = ["Experience", "GroupedImageData", "Memory", "joined", "of_classes"]


@dataclass(frozen=True)
class GroupedImageData(ImageData):
    """
    Data that say themselves which classes come together, and in which order: several data sets, one after the other.

    Args:
        groups: The classes of each experience, each class once.
    """

    groups: tuple[tuple[int, ...], ...] = ()


class Memory:
    """
    What a method may keep of past samples: so many in all, held and counted by the protocol.

    Args:
        capacity: Samples in all; 0 for a method without the privilege.

    Attributes:
        samples: Those that were kept, in the order in which they were handed over; ``None`` before the first.
        beside: What was kept beside each, by name, ``(n, ...)``.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.samples: LabelledSet | None = None
        self.beside: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return 0 if self.samples is None else len(self.samples)

    def share(self, n_classes: int) -> int:
        """Return how many samples each of so many classes may have."""
        return self.capacity // n_classes

    def keep(self, samples: LabelledSet, **beside: Tensor) -> None:
        """
        Keep these samples, and no others.

        Args:
            samples: At most ``capacity``.
            beside: ``(n, ...)`` each.

        Raises:
            ValueError: There are more than the memory holds.
        """
        if len(samples) > self.capacity:
            raise ValueError(f"the memory holds {self.capacity:,} samples, not {len(samples):,}")
        self.samples = LabelledSet(samples.x.detach().cpu().clone(), samples.y.detach().cpu().clone())
        self.beside = {name: values.detach().cpu().clone() for name, values in beside.items()}

    @property
    def tensors(self) -> list[Tensor]:
        """All that is held."""
        return [] if self.samples is None else [self.samples.x, self.samples.y, *self.beside.values()]

    @property
    def n_bytes(self) -> int:
        """How many bytes all that takes."""
        return sum(values.numel() * values.element_size() for values in self.tensors)


@dataclass(frozen=True)
class Experience:
    """
    One step of the stream, as a method sees it.

    Args:
        index: Counted from 0.
        n_old: Classes of the experiences before, ``0 .. n_old - 1``.
        n_seen: Classes including those of this one, ``n_old .. n_seen - 1``.
        train: Its training samples; labels are numbers of classes.
        memory: What is left of past samples.
        past: All past training samples, for a method with that privilege; ``None`` for others and in the first experience.
        recipe: Network, optimiser, batches, schedule and augmentation, which every method of the suite shares.
        base: State of a network that has been trained on this experience already, where the suite has one; in the first experience alone.
    """

    index: int
    n_old: int
    n_seen: int
    train: LabelledSet
    memory: Memory
    past: LabelledSet | None
    recipe: ContinualRecipe
    base: Mapping[str, Tensor] | None = None


def joined(*parts: LabelledSet | None) -> LabelledSet:
    """Return the samples of all parts that are there, one after the other."""
    there = [part for part in parts if part is not None]

    return LabelledSet(torch.cat([part.x for part in there]), torch.cat([part.y for part in there]))


def of_classes(samples: LabelledSet, low: int, high: int) -> LabelledSet:
    """Return the samples of the classes ``low .. high - 1``, in their order."""
    chosen = (samples.y >= low) & (samples.y < high)

    return LabelledSet(samples.x[chosen], samples.y[chosen])
