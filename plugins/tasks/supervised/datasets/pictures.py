"""Pictures for classifiers; the stream ``split`` divides them, the streams ``noise`` and ``noise/validation`` make labels wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Lt

from harness import Run
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from harness.training.label_noise import corrupt
from plugins.data.images import pictures
from plugins.data.images.sets import MNIST, PictureSet

__all__ = ["Cifar10", "Cifar100", "Digits", "FashionMnist", "LabelNoise", "Mnist", "with_label_noise"]

LabelNoise = Annotated[float, Ge(0), Lt(1)]
Size = Annotated[int, Ge(1)]


def with_label_noise(data: ImageData, rate: float, run: Run) -> ImageData:
    """
    Give each training and validation sample one of the other classes with probability ``rate``, all alike; the test set stays as it is.

    Validation labels are as wrong as training labels: who could clean the ones would clean the others.

    Args:
        data: With true labels.
        rate: In [0, 1).
        run: The trial, whose record gets the hash of the training labels.
    """
    noisy = {}
    for name, stream in (("train", "noise"), ("valid", "noise/validation")):
        part: LabelledSet = getattr(data, name)
        labels = corrupt(part.y.numpy(), "symmetric", rate, data.n_classes, run.rng(stream))
        noisy[name] = LabelledSet(part.x, torch.from_numpy(labels))
    run.witness("noise", noisy["train"].y.numpy())

    return replace(data, **noisy)


@dataclass
class Digits(pictures.Digits):
    """
    The digits of scikit-learn, ``(1, 8, 8)`` in [0, 1], split at random.

    Args:
        n_train: Training samples.
        n_valid: Validation samples.
        n_test: Test samples; 1,797 in all at most.
        label_noise: Rate of wrong labels in training and validation set.
    """

    n_train: Size = 400
    n_valid: Size = 200
    n_test: Size = 997
    label_noise: LabelNoise = 0.0

    def load(self, run: Run) -> ImageData:
        """Split, scale and corrupt."""
        return with_label_noise(super().load(run), self.label_noise, run)


@dataclass
class FashionMnist(pictures.FashionMnist):
    """
    Fashion-MNIST, ``(1, 28, 28)`` in [0, 1], in its published parts.

    Args:
        n_train: Training samples.
        n_valid: Validation samples; 60,000 with the training samples at most.
        n_test: Test samples, 10,000 at most.
        label_noise: Rate of wrong labels in training and validation set.
    """

    label_noise: LabelNoise = 0.0

    def load(self, run: Run) -> ImageData:
        """Split, scale and corrupt."""
        return with_label_noise(super().load(run), self.label_noise, run)


@dataclass
class Mnist(FashionMnist):
    """MNIST, in all else as :class:`FashionMnist`."""

    pictures: ClassVar[PictureSet] = MNIST


@dataclass
class Cifar10(pictures.Cifar10):
    """
    CIFAR-10, ``(3, 32, 32)``, channels standardised, in its published parts.

    Args:
        n_train: Training samples.
        n_valid: Validation samples; 50,000 with the training samples at most.
        n_test: Test samples, 10,000 at most.
        label_noise: Rate of wrong labels in training and validation set.
    """

    label_noise: LabelNoise = 0.0

    def load(self, run: Run) -> ImageData:
        """Split, standardise and corrupt."""
        return with_label_noise(super().load(run), self.label_noise, run)


@dataclass
class Cifar100(pictures.Cifar100):
    """
    CIFAR-100, ``(3, 32, 32)``, channels standardised; the user puts its files into a folder (see :mod:`plugins.data.images.cifar100`).

    Args:
        n_train: Training samples.
        n_valid: Validation samples; 50,000 with the training samples at most.
        n_test: Test samples, 10,000 at most.
        digest: SHA-256 over the files, ``test`` first; any are accepted where it is empty. A file that changes leaves known trials known unless a suite gives it.
        label_noise: Rate of wrong labels in training and validation set.
    """

    label_noise: LabelNoise = 0.0

    def load(self, run: Run) -> ImageData:
        """Split, standardise and corrupt."""
        return with_label_noise(super().load(run), self.label_noise, run)
