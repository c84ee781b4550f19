"""What a pretrained network sees, with the labels that people gave or that are made wrong: real data on which a trial takes seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.training.parts import Part, Split, standardised_parts
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.sets import PictureSet
from plugins.models.efficientnet_lite0.cifar10_features import N_TEST, N_TRAIN, read_cifar10_features
from plugins.tasks.noisy_labels.datasets.images import Cifar10n
from plugins.tasks.noisy_labels.datasets.noise import Size

__all__ = ["Cifar10nFeatures"]


@dataclass
class Cifar10nFeatures(Cifar10n):
    """
    What the last layer of EfficientNet-Lite0 sees of CIFAR-10, ``(1280,)``, each feature with mean 0 and standard deviation 1 over the training set.

    Args:
        labels: As :class:`Cifar10n`.
        n_train: Training samples, before a long tail is cut.
        n_valid: Validation samples; 15,000 with the training samples at most.
        n_test: Test samples, 5,000 at most.
    """

    pictures: ClassVar[PictureSet] = PictureSet(CIFAR10, (N_TRAIN, N_TEST))

    n_train: Size = 10_000
    n_valid: Size = 2000
    n_test: Size = N_TEST

    def published(self) -> list[Part]:
        """Return the features of both parts."""
        return read_cifar10_features()

    def scaled(self, published: list[Part], split: Split) -> list[Part]:
        """Standardise by the training set."""
        return standardised_parts(published, split)
