"""Pictures that may be reduced, so that a stream of them takes seconds; the stream ``split`` divides them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge
from torch.nn.functional import avg_pool2d

from harness import Run
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from plugins.data.images import pictures

__all__ = ["Cifar10", "FashionMnist"]


@dataclass
class Cifar10(pictures.Cifar10):
    """
    CIFAR-10, channels standardised.

    Args:
        reduction: Of each side, by means over squares of so many pixels.
    """

    reduction: Annotated[int, Ge(1)] = 1

    def load(self, run: Run) -> ImageData:
        """Split, scale and reduce."""
        return reduced(super().load(run), self.reduction)


@dataclass
class FashionMnist(pictures.FashionMnist):
    """
    Fashion-MNIST in [0, 1].

    Args:
        reduction: Of each side, by means over squares of so many pixels.
    """

    reduction: Annotated[int, Ge(1)] = 1

    def load(self, run: Run) -> ImageData:
        """Split, scale and reduce."""
        return reduced(super().load(run), self.reduction)


def reduced(data: ImageData, reduction: int) -> ImageData:
    """Return smaller pictures: each pixel is the mean of a square."""
    train, valid, test = (LabelledSet(avg_pool2d(part.x, reduction), part.y) for part in (data.train, data.valid, data.test))

    return replace(data, train=train, valid=valid, test=test)
