"""Picture sets as classifiers take them, for several tasks; the stream ``split`` divides them, the stream ``pairs`` makes pairs of digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge

from harness import Run
from harness.training.classifier import LabelledSet, labelled_set
from harness.training.image_data import ImageData
from harness.training.parts import Part
from plugins.data.images.cifar100 import load_cifar100
from plugins.data.images.digit_pairs import N_PAIR_CLASSES, digit_pairs
from plugins.data.images.sets import (
    CIFAR10,
    CIFAR100,
    DIGITS,
    FASHION_MNIST,
    MNIST,
    PictureSet,
    published_parts,
    scaled,
    scaled_parts,
    shuffled_split,
)

__all__ = ["Cifar10", "Cifar100", "DigitPairs", "Digits", "FashionMnist", "Mnist"]

Size = Annotated[int, Ge(1)]


@dataclass
class Pictures:
    """
    A set of the table, divided at random.

    Grey pictures are scaled to [0, 1]; of coloured ones each channel has mean 0 and standard deviation 1 over the training samples.

    Args:
        n_train: Training samples.
        n_valid: Validation samples; with the training samples as many as the published training set has, at most.
        n_test: Test samples, as many as the published test set has, at most.
    """

    pictures: ClassVar[PictureSet]

    n_train: Size = 4000
    n_valid: Size = 1000
    n_test: Size = 2000

    def __post_init__(self) -> None:
        self.pictures.check(self.n_train, self.n_valid, self.n_test)

    def load(self, run: Run) -> ImageData:
        """Split and scale."""
        published = self.published(run)
        split = shuffled_split(published, self.n_train, self.n_valid, self.n_test, run)
        parts = [labelled_set(*part) for part in scaled_parts(published, split, self.pictures.brightest)]
        if parts[0].x.shape[1] > 1:
            deviation, mean = torch.std_mean(parts[0].x, dim=(0, 2, 3), keepdim=True, correction=0)
            parts = [LabelledSet((part.x - mean) / deviation, part.y) for part in parts]

        return ImageData(*parts, n_classes=self.pictures.n_classes)

    def published(self, run: Run) -> list[Part]:
        """Return the parts as published."""
        return self.pictures.read()


@dataclass
class Digits(Pictures):
    """
    The digits of scikit-learn, ``(1, 8, 8)`` in [0, 1], split at random.

    Args:
        n_train: Training samples.
        n_valid: Validation samples.
        n_test: Test samples; 1,797 in all at most.
    """

    pictures: ClassVar[PictureSet] = DIGITS

    n_train: Size = 900
    n_valid: Size = 100
    n_test: Size = 797


@dataclass
class DigitPairs:
    """
    Two digits side by side, ``(1, 8, 16)`` in [0, 1], labelled with ten times the left and the right: 100 classes, equally frequent in each part.

    The single pictures are split at random first, half for training, a tenth for validation, the rest for testing, so that the parts share none.

    Args:
        n_train: Training pairs.
        n_valid: Validation pairs.
        n_test: Test pairs.
    """

    n_train: Size = 3000
    n_valid: Size = 500
    n_test: Size = 2000

    def load(self, run: Run) -> ImageData:
        """Split the digits, pair and scale."""
        (whole,) = DIGITS.read()
        order = run.rng("split").permutation(len(whole.y))
        run.witness("split", order)
        rng = run.rng("pairs")
        parts = []
        cuts = [len(order) // 2, len(order) * 6 // 10]
        for rows, n in zip(np.split(order, cuts), (self.n_train, self.n_valid, self.n_test), strict=True):
            pairs = digit_pairs(whole.x[rows], whole.y[rows], n, rng)
            parts.append(labelled_set(scaled(pairs.x, DIGITS.brightest), pairs.y))

        return ImageData(*parts, n_classes=N_PAIR_CLASSES)


@dataclass
class Mnist(Pictures):
    """MNIST, ``(1, 28, 28)`` in [0, 1]."""

    pictures: ClassVar[PictureSet] = MNIST


@dataclass
class FashionMnist(Pictures):
    """Fashion-MNIST, ``(1, 28, 28)`` in [0, 1]."""

    pictures: ClassVar[PictureSet] = FASHION_MNIST


@dataclass
class Cifar10(Pictures):
    """CIFAR-10, ``(3, 32, 32)``, channels standardised."""

    pictures: ClassVar[PictureSet] = CIFAR10


@dataclass
class Cifar100(Pictures):
    """
    CIFAR-100, ``(3, 32, 32)``, channels standardised; the user puts its files into a folder (see :mod:`plugins.data.images.cifar100`).

    Args:
        n_train: Training samples.
        n_valid: Validation samples; 50,000 with the training samples at most.
        n_test: Test samples, 10,000 at most.
        digest: SHA-256 over the files, ``test`` first; any are accepted where it is empty. A file that changes leaves known trials known unless a suite gives it.
    """

    pictures: ClassVar[PictureSet] = CIFAR100

    digest: str = ""

    def published(self, run: Run) -> list[Part]:
        """Read the files of the user."""
        return published_parts(load_cifar100(run, self.digest))
