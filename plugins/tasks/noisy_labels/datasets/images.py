"""
Picture sets whose labels are made wrong, and whose classes may be made scarce.

The stream ``split`` draws the parts and the long tail; the streams of the noise are those of :mod:`plugins.tasks.noisy_labels.datasets.noise`. The long tail
is cut into the training part before its labels are corrupted, so that its ratio is one of true classes; validation and test set keep the shares of the
whole set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge

from harness import Run
from harness.data import load
from harness.training.classifier import LabelledSet
from harness.training.label_noise import NoiseKind
from harness.training.parts import Part, Split
from harness.training.sampling import long_tail_subset
from plugins.data.images.cifar10n import CIFAR10N
from plugins.data.images.sets import (
    ANIMALS,
    CIFAR10,
    DIGITS,
    FASHION_MNIST,
    MNIST,
    OPTDIGITS,
    PictureSet,
    draw_split,
    scaled_parts,
    shuffled_split,
)
from plugins.tasks.noisy_labels.datasets.noise import NoiseSettings, Size, label_tensor, noisy_dataset
from plugins.tasks.noisy_labels.protocol import NoisyDataset

__all__ = [
    "Animals",
    "Cifar10",
    "Cifar10n",
    "Digits",
    "FashionMnist",
    "FashionMnistLongTail",
    "Mnist",
    "MnistLongTail",
    "Optdigits",
    "asymmetric_labels",
]

Imbalance = Literal["none", "exponential", "step"]

# Patrini et al. 2017 (arXiv:1609.03683): truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog; the other classes keep their labels.
MISTAKEN_FOR = np.array([0, 1, 0, 5, 7, 3, 6, 7, 8, 1])

HUMAN_LABELS = {  # our words and the publisher's
    "aggre": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worse": "worse_label",
}


@dataclass
class PlainPictures(NoiseSettings):
    """
    A set of the table, divided at random as all tasks on pictures divide it.

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
        super().__post_init__()
        self.pictures.check(self.n_train, self.n_valid, self.n_test)

    def load(self, run: Run) -> NoisyDataset:
        """Split, scale and corrupt."""
        published = self.pictures.read()
        split = shuffled_split(published, self.n_train, self.n_valid, self.n_test, run)

        return noisy_dataset(self, scaled_parts(published, split, self.pictures.brightest), run)


@dataclass
class Digits(PlainPictures):
    """
    The digits of scikit-learn, ``(1, 8, 8)`` in [0, 1], split at random.

    Args:
        n_train: Training samples.
        n_valid: Validation samples.
        n_test: Test samples; 1,797 in all at most.
    """

    n_classes: ClassVar[int] = 10
    pictures: ClassVar[PictureSet] = DIGITS

    n_train: Size = 1200
    n_valid: Size = 200
    n_test: Size = 397


@dataclass
class FashionMnist(PlainPictures):
    """
    Fashion-MNIST, ``(1, 28, 28)`` in [0, 1]: training and validation set from its training set, test set from its test set, at random.

    Args:
        n_train: Training samples.
        n_valid: Validation samples; 60,000 with the training samples at most.
        n_test: Test samples, 10,000 at most.
    """

    n_classes: ClassVar[int] = 10
    pictures: ClassVar[PictureSet] = FASHION_MNIST


@dataclass
class Mnist(FashionMnist):
    """MNIST, in all else as :class:`FashionMnist`."""

    pictures: ClassVar[PictureSet] = MNIST


@dataclass
class TailedPictures(NoiseSettings):
    """
    A set of the table whose parts may have the class shares of the whole, and whose training set may have a long tail.

    Args:
        stratified: Whether each part has the class shares of the whole up to rounding, or those that a plain draw gives.
        imbalance: The long tail of the training set (see :mod:`harness.training.sampling`); it makes the training set smaller than ``n_train``.
        imbalance_ratio: Largest class to smallest, above 1; 1 without a long tail.
        n_train: Training samples, before a long tail is cut.
        n_valid: Validation samples; with the training samples as many as the published training set has, at most.
        n_test: Test samples, as many as the published test set has, at most.
    """

    pictures: ClassVar[PictureSet]

    stratified: bool = False
    imbalance: Imbalance = "none"
    imbalance_ratio: Annotated[float, Ge(1)] = 1.0
    n_train: Size = 4000
    n_valid: Size = 1000
    n_test: Size = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.imbalance == "none" and self.imbalance_ratio != 1:
            raise ValueError(
                f"imbalance 'none' has imbalance_ratio {self.imbalance_ratio:g}; leave the ratio at 1, or give a kind of imbalance"
            )
        if self.imbalance != "none" and self.imbalance_ratio == 1:
            raise ValueError(f"imbalance '{self.imbalance}' has imbalance_ratio 1, which is none; give a ratio above 1")
        self.pictures.check(self.n_train, self.n_valid, self.n_test)

    def load(self, run: Run) -> NoisyDataset:
        """Split, cut the long tail, scale and corrupt."""
        published = self.published()
        rng = run.rng("split")
        split = draw_split(published, self.n_train, self.n_valid, self.n_test, rng, self.stratified)
        if self.imbalance != "none":
            y = published[0].y[split.train]
            split = split._replace(train=split.train[long_tail_subset(y, self.imbalance_ratio, self.imbalance, rng)])
        run.witness("split", np.concatenate(split))

        return self.corrupted(self.scaled(published, split), split, run)

    def published(self) -> list[Part]:
        """Return the published parts."""
        return self.pictures.read()

    def scaled(self, published: list[Part], split: Split) -> list[Part]:
        """Return training, validation and test set as networks take them."""
        return scaled_parts(published, split, self.pictures.brightest)

    def corrupted(self, parts: list[Part], split: Split, run: Run) -> NoisyDataset:
        """Corrupt the labels of the parts; ``split`` says where their samples stand in the published set."""
        return noisy_dataset(self, parts, run)


@dataclass
class Cifar10(TailedPictures):
    """
    CIFAR-10, ``(3, 32, 32)`` in [0, 1].

    Args:
        noise: As for the other sets, or ``asymmetric``: the share ``rate`` of the trucks is called automobile, of the birds airplane, of the deer horse, of
            the cats dog and of the dogs cat (Patrini et al. 2017, arXiv:1609.03683), so that in a balanced set half of ``rate`` is wrong in all.
    """

    n_classes: ClassVar[int] = 10
    pictures: ClassVar[PictureSet] = CIFAR10

    noise: NoiseKind | Literal["asymmetric"] = "none"

    def corrupted(self, parts: list[Part], split: Split, run: Run) -> NoisyDataset:
        """Corrupt the labels by the law of the settings."""
        if self.noise != "asymmetric":
            return noisy_dataset(self, parts, run)

        train, valid, _ = parts
        labels = [asymmetric_labels(part.y, self.rate, run.rng(stream)) for part, stream in ((train, "noise"), (valid, "noise/validation"))]

        return self.relabelled(parts, labels, self.rate * (MISTAKEN_FOR[train.y] != train.y).mean(), run)

    def relabelled(self, parts: list[Part], labels: list[np.ndarray], noise_rate: float, run: Run) -> NoisyDataset:
        """Build the container with given labels for training and, unless it is clean, validation set."""
        clean = noisy_dataset(replace(self, noise="none", rate=0.0), parts, run)
        train, valid = (LabelledSet(part.x, label_tensor(y)) for part, y in zip((clean.train, clean.valid), labels, strict=True))

        return replace(clean, train=train, valid=valid if self.validation == "noisy" else clean.valid, noise_rate=float(noise_rate))


@dataclass
class Cifar10n(Cifar10):
    """
    CIFAR-10 with the labels that people gave (CIFAR-10N), as :class:`Cifar10` else.

    Args:
        labels: Whose labels stand for the noise in training and validation set: the majority of three annotators (``aggre``, 9 % wrong), one of them
            (``random1`` to ``random3``, 17 to 18 %), a wrong one of theirs where there is one (``worse``, 40 %), or the publisher's (``given``).
        noise: Corrupts the publisher's labels; ``none`` with any other.
    """

    labels: Literal["given", "aggre", "random1", "random2", "random3", "worse"] = "worse"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels != "given" and self.noise != "none":
            raise ValueError(
                f"labels '{self.labels}' are the noise already, and noise is '{self.noise}'; take labels 'given', or noise 'none'"
            )

    def corrupted(self, parts: list[Part], split: Split, run: Run) -> NoisyDataset:
        """Take the labels of people, or corrupt those of the publisher."""
        if self.labels == "given":
            return super().corrupted(parts, split, run)
        human = load(CIFAR10N)
        given = human[HUMAN_LABELS[self.labels]]

        return self.relabelled(parts, [given[split.train], given[split.valid]], (given != human["clean_label"]).mean(), run)


@dataclass
class FashionMnistLongTail(TailedPictures):
    """Fashion-MNIST with a long tail, ``(1, 28, 28)`` in [0, 1]."""

    n_classes: ClassVar[int] = 10
    pictures: ClassVar[PictureSet] = FASHION_MNIST

    stratified: bool = True
    imbalance: Imbalance = "exponential"
    imbalance_ratio: Annotated[float, Ge(1)] = 10.0


@dataclass
class MnistLongTail(FashionMnistLongTail):
    """MNIST with a long tail, in all else as :class:`FashionMnistLongTail`."""

    pictures: ClassVar[PictureSet] = MNIST


@dataclass
class Optdigits(TailedPictures):
    """
    The complete handwritten digits of 8x8 pixels, ``(1, 8, 8)`` in [0, 1], split at random.

    Args:
        n_train: Training samples, before a long tail is cut.
        n_valid: Validation samples.
        n_test: Test samples; 5,620 in all at most.
    """

    n_classes: ClassVar[int] = 10
    pictures: ClassVar[PictureSet] = OPTDIGITS

    n_train: Size = 3000
    n_valid: Size = 620
    n_test: Size = 2000


@dataclass
class Animals(TailedPictures):
    """
    Silhouettes of animals, ``(1, 28, 28)`` in [0, 1], split at random. 284 of the pictures repeat another, so a few stand in two parts.

    Args:
        n_train: Training samples, before a long tail is cut.
        n_valid: Validation samples.
        n_test: Test samples; 10,000 in all at most.
    """

    n_classes: ClassVar[int] = 10
    pictures: ClassVar[PictureSet] = ANIMALS


def asymmetric_labels(y: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """
    Mistake the classes of CIFAR-10 as Patrini et al. 2017 have it.

    Args:
        y: ``(N,)`` integers in 0..9, true labels.
        rate: The probability that a truck, bird, deer, cat or dog gets the wrong label.
        rng: Decides which do.

    Returns:
        ``(N,)`` int64.
    """
    return np.where(rng.random(len(y)) < rate, MISTAKEN_FOR[y], y).astype(np.int64)
