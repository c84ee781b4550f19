"""A stream of picture sets, one an experience."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn.functional import interpolate

from harness import Run
from harness.training.classifier import LabelledSet
from plugins.data.images.pictures import Size
from plugins.data.images.sets import ANIMALS, CIFAR10, FASHION_MNIST, MNIST, PictureSet, draw_split, scaled_parts
from plugins.tasks.class_incremental.stream import GroupedImageData

__all__ = ["PictureSets"]

SIDE = 28


@dataclass
class PictureSets:
    """
    Grey CIFAR-10, Fashion-MNIST, MNIST and silhouettes of animals, ``(1, 28, 28)`` in [0, 1], ten classes each, one after the other in this order.

    Args:
        n_train: Training samples of each set.
        n_valid: Validation samples of each.
        n_test: Test samples of each; 10,000 in all three at most.
    """

    sets: ClassVar[tuple[PictureSet, ...]] = (CIFAR10, FASHION_MNIST, MNIST, ANIMALS)

    n_train: Size = 1600
    n_valid: Size = 400
    n_test: Size = 1000

    def __post_init__(self) -> None:
        for pictures in self.sets:
            pictures.check(self.n_train, self.n_valid, self.n_test)

    def load(self, run: Run) -> GroupedImageData:
        """Split each set, make it grey and small, and number its classes behind those before."""
        rng = run.rng("split")
        drawn: list[np.ndarray] = []
        parts: list[list[LabelledSet]] = []
        for number, pictures in enumerate(self.sets):
            published = pictures.read()
            split = draw_split(published, self.n_train, self.n_valid, self.n_test, rng, stratified=False)
            drawn += split
            parts.append(
                [
                    LabelledSet(_grey(torch.from_numpy(part.x)), torch.from_numpy(part.y.astype(np.int64)) + 10 * number)
                    for part in scaled_parts(published, split, pictures.brightest)
                ]
            )
        run.witness("split", np.concatenate(drawn))
        train, valid, test = (
            LabelledSet(torch.cat([part.x for part in kind]), torch.cat([part.y for part in kind])) for kind in zip(*parts, strict=True)
        )
        n_classes = 10 * len(self.sets)
        groups = tuple(tuple(range(low, low + 10)) for low in range(0, n_classes, 10))

        return GroupedImageData(train, valid, test, n_classes, groups)


def _grey(x: torch.Tensor) -> torch.Tensor:
    grey = x.mean(dim=1, keepdim=True)
    if grey.shape[-1] == SIDE:
        return grey

    return interpolate(grey, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
