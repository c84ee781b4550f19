"""What a pretrained network sees, of which few samples have a label; the stream ``split`` draws the parts, with the class shares of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness import Run
from harness.training.parts import standardised_parts
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.sets import PictureSet, draw_split
from plugins.models.efficientnet_lite0.cifar10_features import N_TEST, N_TRAIN, read_cifar10_features
from plugins.tasks.semi_supervised.datasets.labels import LabelSettings, Size, semi_supervised_dataset
from plugins.tasks.semi_supervised.protocol import SemiSupervisedDataset
from plugins.tasks.semi_supervised.views import FeatureViews

__all__ = ["Cifar10Features"]


@dataclass
class Cifar10Features(LabelSettings):
    """
    What the last layer of EfficientNet-Lite0 sees of CIFAR-10, ``(1280,)``, each feature with mean 0 and standard deviation 1 over the training set.

    Args:
        n_train: Training samples, labelled or not.
        n_valid: Validation samples; 15,000 with the training samples at most.
        n_test: Test samples, 5,000 at most.
    """

    pictures: ClassVar[PictureSet] = PictureSet(CIFAR10, (N_TRAIN, N_TEST))

    n_train: Size = 4000
    n_valid: Size = 500
    n_test: Size = N_TEST

    def __post_init__(self) -> None:
        self.pictures.check(self.n_train, self.n_valid, self.n_test)

    def load(self, run: Run) -> SemiSupervisedDataset:
        """Split, standardise and hide labels."""
        published = read_cifar10_features()
        split = draw_split(published, self.n_train, self.n_valid, self.n_test, run.rng("split"), stratified=True)
        run.witness("split", np.concatenate(split))

        return semi_supervised_dataset(self, standardised_parts(published, split), self.pictures.n_classes, FeatureViews(), run)
