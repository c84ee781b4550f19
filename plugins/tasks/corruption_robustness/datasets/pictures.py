"""
Pictures with corruptions, and what a network is pretrained on before it meets them.

Pretraining knows other pictures than fine-tuning: digits turned by a right angle, MNIST before the small digits, or the first half of a set's classes before the
second. One set has a published network instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Le, MinLen
from torch import Tensor, nn

from harness.data import load_folder
from harness.training.corruptions import EXTRA, NAMES, corrupt_images
from harness.training.parts import Part, check_sizes
from plugins.data.images.frost_textures import FROST_TEXTURES, decode_textures
from plugins.data.images.sets import CIFAR10, DIGITS, FASHION_MNIST, MNIST, PictureSet, shuffled_split
from plugins.models.resnet8.model import ResNet8, load_resnet8
from plugins.tasks.corruption_robustness.data import Corrupt, CorruptionData
from plugins.tasks.corruption_robustness.datasets.small_corruptions import SMALL_NAMES, corrupt_small_images

if TYPE_CHECKING:
    from harness import Run

__all__ = ["Cifar10", "Cifar10Resnet8", "Digits", "DigitsAfterMnist", "FashionMnist"]

Size = Annotated[int, Ge(1)]
Severity = Annotated[int, Ge(1), Le(5)]
Names = Annotated[tuple[str, ...], MinLen(1)]

KNOWN = (*NAMES, *EXTRA)
SIDE = 32  # of the pictures that the corruptions of CIFAR-10-C are made for
MNIST_MARGIN, MNIST_BLOCK = 2, 3  # 28 pixels less a margin are 8 blocks of 3


@dataclass
class Digits:
    """
    The digits of scikit-learn, 8x8, after pretraining on other ones turned by a right angle.

    Args:
        n_source: Samples for pretraining.
        n_train: Training samples.
        n_valid: Validation samples.
        n_test: Test samples; 1,797 in all at most.
        corruptions: Of :data:`plugins.tasks.corruption_robustness.datasets.small_corruptions.SMALL_NAMES`.
        severity: 1 to 5.
    """

    n_source: Size = 600
    n_train: Size = 600
    n_valid: Size = 100
    n_test: Size = 497
    corruptions: Names = SMALL_NAMES
    severity: Severity = 5

    def __post_init__(self) -> None:
        _check_names(self.corruptions, SMALL_NAMES)
        check_sizes("n_source + n_train + n_valid + n_test", self.n_source + self.n_train + self.n_valid + self.n_test, DIGITS.sizes[0])

    def load(self, run: Run) -> CorruptionData:
        """Split."""
        (whole,) = DIGITS.read()
        x = np.rint(whole.x * (255 / DIGITS.brightest)).astype(np.uint8)
        split = shuffled_split([whole], self.n_source + self.n_train, self.n_valid, self.n_test, run)
        source, *parts = (Part(x[rows], whole.y[rows]) for rows in (*np.split(split.train, [self.n_source]), split.valid, split.test))

        return _data(self.source(source, run), parts, 10, self.corruptions, self.severity, corrupt_small_images, run)

    def source(self, digits: Part, run: Run) -> Part:
        """Return what a network is pretrained on."""
        return digits._replace(x=np.rot90(digits.x, axes=(1, 2)))


@dataclass
class DigitsAfterMnist(Digits):
    """
    The digits of scikit-learn after pretraining on MNIST, brought to 8x8 by means of 3x3 pixels.

    Args:
        n_mnist: Pictures of MNIST.
    """

    n_mnist: Annotated[int, Ge(1), Le(60_000)] = 6000

    def source(self, digits: Part, run: Run) -> Part:
        """Draw from MNIST by the stream ``source``."""
        mnist = MNIST.read()[0]
        rows = run.rng("source").permutation(len(mnist.y))[: self.n_mnist]
        inner = mnist.x[rows, MNIST_MARGIN:-MNIST_MARGIN, MNIST_MARGIN:-MNIST_MARGIN]

        return Part(np.rint(_block_means(inner, MNIST_BLOCK)).astype(np.uint8), mnist.y[rows])


@dataclass
class HalvedPictures:
    """
    A set of pictures whose first five classes are for pretraining; the last five are told apart clean and corrupted.

    Args:
        n_source: Samples of the first classes.
        n_train: Training samples of the last ones.
        n_valid: Validation samples, likewise.
        n_test: Test samples, likewise.
        corruptions: Of the 19 in :mod:`harness.training.corruptions`.
        severity: 1 to 5.
    """

    pictures: ClassVar[PictureSet]

    n_source: Size = 8000
    n_train: Size = 4000
    n_valid: Size = 500
    n_test: Size = 1000
    corruptions: Names = ("gaussian_noise", "impulse_noise", "gaussian_blur", "contrast")
    severity: Severity = 5

    def __post_init__(self) -> None:
        _check_names(self.corruptions, KNOWN)
        halves = [size // 2 for size in self.pictures.sizes]
        check_sizes("n_source", self.n_source, halves[0])
        check_sizes("n_train + n_valid", self.n_train + self.n_valid, halves[0])
        check_sizes("n_test", self.n_test, halves[1])

    def load(self, run: Run) -> CorruptionData:
        """Split, and bring pictures to 32x32 pixels of three channels."""
        published = self.pictures.read()
        half = self.pictures.n_classes // 2
        first, (last, test) = published[0], (_from_class(part, half) for part in published)
        rows = run.rng("source").permutation(np.flatnonzero(first.y < half))[: self.n_source]
        split = shuffled_split([last, test], self.n_train, self.n_valid, self.n_test, run)
        parts = [Part(_coloured(each.x[chosen]), each.y[chosen]) for each, chosen in zip((last, last, test), split, strict=True)]

        return _data(
            Part(_coloured(first.x[rows]), first.y[rows]), parts, half, self.corruptions, self.severity, _corrupting(self.corruptions), run
        )


@dataclass
class FashionMnist(HalvedPictures):
    """Fashion-MNIST with a black margin, as colour pictures: five classes of clothes before five others."""

    pictures: ClassVar[PictureSet] = FASHION_MNIST


@dataclass
class Cifar10(HalvedPictures):
    """CIFAR-10: five classes before five others."""

    pictures: ClassVar[PictureSet] = CIFAR10


@dataclass
class Cifar10Resnet8:
    """
    CIFAR-10 and a ResNet-8 that was trained on it, with batch normalisation.

    The network knows the training pictures already, as it was trained on all 50,000.

    Args:
        n_train: Training samples.
        n_valid: Validation samples; 50,000 with the training samples at most.
        n_test: Test samples, 10,000 at most.
        corruptions: Of the 19 in :mod:`harness.training.corruptions`.
        severity: 1 to 5.
    """

    n_train: Size = 4000
    n_valid: Size = 500
    n_test: Size = 1000
    corruptions: Names = ("gaussian_noise", "glass_blur", "frost", "contrast")
    severity: Severity = 5

    def __post_init__(self) -> None:
        _check_names(self.corruptions, KNOWN)
        CIFAR10.check(self.n_train, self.n_valid, self.n_test)

    def load(self, run: Run) -> CorruptionData:
        """Split."""
        published = CIFAR10.read()
        split = shuffled_split(published, self.n_train, self.n_valid, self.n_test, run)
        sources = (published[0], published[0], published[1])
        parts = [Part(each.x[rows], each.y[rows]) for each, rows in zip(sources, split, strict=True)]
        law = _corrupting(self.corruptions)

        return _data(None, parts, CIFAR10.n_classes, self.corruptions, self.severity, law, run)


def _data(
    source: Part | None, parts: Sequence[Part], n_classes: int, corruptions: tuple[str, ...], severity: int, law: Corrupt, run: Run
) -> CorruptionData:
    network = _sequence(load_resnet8()) if source is None else None
    train, valid, test = parts

    return CorruptionData(source, train, valid, test, n_classes, corruptions, severity, law, run.derive_seed("corruption"), network)


class _Inputs(nn.Module):
    """Brings pixels in [0, 1] to what the ResNet-8 was trained on (:func:`plugins.models.resnet8.model.normalise`)."""

    def forward(self, x: Tensor) -> Tensor:
        return (255 * x - 128) / 128


def _sequence(network: ResNet8) -> nn.Module:
    """Return the network as a sequence of its layers, which patches count."""
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.classifier]

    return nn.Sequential(_Inputs(), network.stem, nn.ReLU(), network.blocks, *head).eval()


def _check_names(names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a corruption that there is not, and one that is named twice."""
    for name in names:
        if name not in known:
            raise ValueError(f"there is no corruption '{name}' for these pictures; there are {', '.join(known)}")
    if len(set(names)) != len(names):
        raise ValueError(f"corruptions are {list(names)}; name each once")


def _corrupting(names: Sequence[str]) -> Corrupt:
    return partial(corrupt_images, frost=decode_textures(load_folder(FROST_TEXTURES)) if "frost" in names else None)


def _from_class(part: Part, first: int) -> Part:
    """Keep the classes from ``first`` on, which count from 0 then."""
    rows = part.y >= first

    return Part(part.x[rows], part.y[rows] - first)


def _coloured(pictures: np.ndarray) -> np.ndarray:
    """Bring ``(N, height, width)`` to ``(N, 32, 32, 3)``, with a black margin; pictures in colour stay."""
    if pictures.ndim == 4:
        return pictures
    margins = [((SIDE - side) // 2, SIDE - side - (SIDE - side) // 2) for side in pictures.shape[1:]]

    return np.repeat(np.pad(pictures, [(0, 0), *margins])[..., None], 3, axis=3)


def _block_means(pictures: np.ndarray, block: int) -> np.ndarray:
    """Average ``(N, height, width)`` over blocks of ``block`` x ``block`` pixels."""
    n, height, width = pictures.shape
    means: np.ndarray = pictures.reshape(n, height // block, block, width // block, block).mean(axis=(2, 4))

    return means
