"""What a pretrained network sees: real data on which a trial takes seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness import Run
from harness.training.classifier import labelled_set
from harness.training.image_data import ImageData
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.pictures import Size
from plugins.data.images.sets import PictureSet, shuffled_split
from plugins.models.efficientnet_lite0.cifar10_features import N_TEST, N_TRAIN, read_cifar10_features

__all__ = ["Cifar10Features"]


@dataclass
class Cifar10Features:
    """
    What the last layer of EfficientNet-Lite0 sees of CIFAR-10, ``(1280,)`` in [0, 6]; not standardised, since that would take the statistics of classes to come.

    Args:
        n_train: Training samples.
        n_valid: Validation samples; 15,000 with the training samples at most.
        n_test: Test samples, 5,000 at most.
    """

    pictures: ClassVar[PictureSet] = PictureSet(CIFAR10, (N_TRAIN, N_TEST))

    n_train: Size = 5000
    n_valid: Size = 1000
    n_test: Size = 2000

    def __post_init__(self) -> None:
        self.pictures.check(self.n_train, self.n_valid, self.n_test)

    def load(self, run: Run) -> ImageData:
        """Split."""
        published = read_cifar10_features()
        split = shuffled_split(published, self.n_train, self.n_valid, self.n_test, run)
        sources = (published[0], published[0], published[-1])
        train, valid, test = (
            labelled_set(source.x[rows].astype(np.float32), source.y[rows]) for source, rows in zip(sources, split, strict=True)
        )

        return ImageData(train, valid, test, self.pictures.n_classes)
