"""Pictures in [0, 1] with balanced parts, whose training set may be imbalanced; the stream ``split`` decides all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch.nn.functional import avg_pool2d

from harness import Run
from harness.training.classifier import LabelledSet, labelled_set
from harness.training.sampling import long_tail_subset
from plugins.data.images.sets import CIFAR10, DIGITS, FASHION_MNIST, PictureSet, draw_split, scaled_parts
from plugins.tasks.adversarial.protocol import RobustnessData

__all__ = ["Cifar10", "Digits", "FashionMnist"]

Size = Annotated[int, Ge(1)]


@dataclass
class Pictures:
    """
    A set of the table; each part has the class shares of the whole up to rounding, but for the imbalance of the training set.

    Args:
        n_train: Training samples before some are left out.
        n_valid: Validation samples; with the training samples as many as the published training set has, at most.
        n_test: Test samples, as many as the published test set has, at most.
        imbalance: ``step`` leaves the first half of the classes as they are and cuts the others down, ``exponential`` cuts each class a little more than the
            one before (:func:`harness.training.sampling.long_tail_counts`). In both the last half of the classes counts as rare.
        imbalance_ratio: Largest class to smallest; 1 where there is no imbalance.
        halved: Whether both sides are halved, each pixel the mean of four.

    Raises:
        ValueError: There are not so many samples, or an imbalance without a ratio, or a ratio without one.
    """

    pictures: ClassVar[PictureSet]

    n_train: Size = 3000
    n_valid: Size = 500
    n_test: Size = 1000
    imbalance: Literal["none", "step", "exponential"] = "none"
    imbalance_ratio: Annotated[float, Ge(1)] = 1.0
    halved: bool = True

    def __post_init__(self) -> None:
        self.pictures.check(self.n_train, self.n_valid, self.n_test)
        if (self.imbalance == "none") != (self.imbalance_ratio == 1):
            raise ValueError(
                f"imbalance '{self.imbalance}' has imbalance_ratio {self.imbalance_ratio:g}; give a kind and a ratio above 1, or neither"
            )

    def load(self, run: Run) -> RobustnessData:
        """Split, leave out, scale and halve."""
        published, rng = self.pictures.read(), run.rng("split")
        split = draw_split(published, self.n_train, self.n_valid, self.n_test, rng, stratified=True)
        n_classes = self.pictures.n_classes
        rare = torch.zeros(n_classes, dtype=torch.bool)
        if self.imbalance != "none":
            y = published[0].y[split.train]
            split = split._replace(train=split.train[long_tail_subset(y, self.imbalance_ratio, self.imbalance, rng)])
            rare[(n_classes + 1) // 2 :] = True
        run.witness("split", np.concatenate(split))
        parts = [labelled_set(*part) for part in scaled_parts(published, split, self.pictures.brightest)]
        if self.halved:
            parts = [LabelledSet(avg_pool2d(part.x, 2), part.y) for part in parts]

        return RobustnessData(*parts, n_classes=n_classes, rare=rare)


@dataclass
class Digits(Pictures):
    """
    The digits of scikit-learn, ``(1, 8, 8)``.

    Args:
        n_train: Training samples before some are left out.
        n_valid: Validation samples.
        n_test: Test samples; 1,797 in all at most.
    """

    pictures: ClassVar[PictureSet] = DIGITS

    n_train: Size = 1100
    n_valid: Size = 100
    n_test: Size = 597
    halved: bool = False


@dataclass
class FashionMnist(Pictures):
    """Fashion-MNIST, ``(1, 14, 14)``, or ``(1, 28, 28)`` where it is not halved."""

    pictures: ClassVar[PictureSet] = FASHION_MNIST


@dataclass
class Cifar10(Pictures):
    """CIFAR-10, ``(3, 16, 16)``, or ``(3, 32, 32)`` where it is not halved; channels are in [0, 1], not standardised."""

    pictures: ClassVar[PictureSet] = CIFAR10

    n_train: Size = 5000
