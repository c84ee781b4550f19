"""Picture sets that come by themselves; the stream ``split`` draws their parts, with the class shares of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness import Run
from harness.training.parts import Part
from plugins.data.images.sets import CIFAR10, FASHION_MNIST, PictureSet, draw_split, scaled_parts
from plugins.tasks.semi_supervised.datasets.labels import LabelSettings, Size, semi_supervised_dataset
from plugins.tasks.semi_supervised.protocol import SemiSupervisedDataset
from plugins.tasks.semi_supervised.views import PictureViews

__all__ = ["CanonicalPictures", "Cifar10", "FashionMnist"]


@dataclass
class CanonicalPictures(LabelSettings):
    """
    Pictures that are published in two parts: training and validation set come from the first, the test set from the second.

    Args:
        n_train: Training samples, labelled or not.
        n_valid: Validation samples; with the training samples as many as the published training set has, at most.
        n_test: Test samples.
    """

    pictures: ClassVar[PictureSet]

    n_train: Size = 4000
    n_valid: Size = 500
    n_test: Size = 2000

    def __post_init__(self) -> None:
        self.pictures.check(self.n_train, self.n_valid, self.n_test)

    def load(self, run: Run) -> SemiSupervisedDataset:
        """Split, scale and hide labels."""
        published = self.published(run)
        split = draw_split(published, self.n_train, self.n_valid, self.n_test, run.rng("split"), stratified=True)
        run.witness("split", np.concatenate(split))
        parts = scaled_parts(published, split, self.pictures.brightest)

        return semi_supervised_dataset(self, parts, self.pictures.n_classes, PictureViews(), run)

    def published(self, run: Run) -> list[Part]:
        """Return the published training and test set, pictures ``(N, height, width)`` or ``(N, height, width, 3)`` uint8."""
        return self.pictures.read()


@dataclass
class FashionMnist(CanonicalPictures):
    """Fashion-MNIST, ``(1, 28, 28)`` in [0, 1]."""

    pictures: ClassVar[PictureSet] = FASHION_MNIST


@dataclass
class Cifar10(CanonicalPictures):
    """CIFAR-10, ``(3, 32, 32)`` in [0, 1]."""

    pictures: ClassVar[PictureSet] = CIFAR10
