"""Picture sets as classifiers take them, for several tasks; the stream ``split`` divides them, the stream ``pairs`` makes pairs of digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge

from harness import RawData, Run
from harness.data import load
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.cifar100 import load_cifar100
from plugins.data.images.digit_pairs import N_PAIR_CLASSES, Pairs, digit_pairs
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST

__all__ = ["Cifar10", "Cifar100", "DigitPairs", "Digits", "FashionMnist"]

Size = Annotated[int, Ge(1)]

N_DIGITS = 1797
BRIGHTEST_DIGIT = 16


@dataclass
class Digits:
    """
    The digits of scikit-learn, ``(1, 8, 8)`` in [0, 1], split at random.

    Args:
        n_train: Training samples.
        n_valid: Validation samples.
        n_test: Test samples; 1,797 in all at most.
    """

    n_train: Size = 900
    n_valid: Size = 100
    n_test: Size = 797

    def __post_init__(self) -> None:
        _check_sizes("n_train + n_valid + n_test", self.n_train + self.n_valid + self.n_test, N_DIGITS)

    def load(self, run: Run) -> ImageData:
        """Split and scale."""
        arrays = load(DIGITS)
        order = run.rng("split").permutation(N_DIGITS)[: self.n_train + self.n_valid + self.n_test]
        run.witness("split", order)
        parts = [
            _labelled(arrays["x"][rows], arrays["y"][rows], BRIGHTEST_DIGIT)
            for rows in np.split(order, [self.n_train, self.n_train + self.n_valid])
        ]

        return ImageData(*parts, n_classes=10)


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
        arrays = load(DIGITS)
        order = run.rng("split").permutation(N_DIGITS)
        run.witness("split", order)
        rng = run.rng("pairs")
        parts = []
        for rows, n in zip(np.split(order, [N_DIGITS // 2, N_DIGITS * 6 // 10]), (self.n_train, self.n_valid, self.n_test), strict=True):
            pairs: Pairs = digit_pairs(arrays["x"][rows], arrays["y"][rows], n, rng)
            parts.append(_labelled(pairs.x, pairs.y, BRIGHTEST_DIGIT))

        return ImageData(*parts, n_classes=N_PAIR_CLASSES)


@dataclass
class Published:
    """
    A set that is published in two parts: training and validation set come from the first, the test set from the second, at random.

    Grey pictures are scaled to [0, 1]; of coloured ones each channel has mean 0 and standard deviation 1 over the training samples.

    Args:
        n_train: Training samples.
        n_valid: Validation samples; with the training samples as many as the published training set has, at most.
        n_test: Test samples, 10,000 at most.
    """

    raw: ClassVar[RawData]
    n_published: ClassVar[int]
    n_classes: ClassVar[int]

    n_train: Size = 4000
    n_valid: Size = 1000
    n_test: Size = 2000

    def __post_init__(self) -> None:
        _check_sizes("n_train + n_valid", self.n_train + self.n_valid, self.n_published)
        _check_sizes("n_test", self.n_test, 10_000)

    def load(self, run: Run) -> ImageData:
        """Split and scale."""
        arrays = self.arrays(run)
        rng = run.rng("split")
        train, valid = np.split(rng.permutation(len(arrays["train_y"]))[: self.n_train + self.n_valid], [self.n_train])
        test = rng.permutation(len(arrays["test_y"]))[: self.n_test]
        run.witness("split", np.concatenate([train, valid, test]))
        parts = [
            _labelled(arrays[f"{source}_x"][rows], arrays[f"{source}_y"][rows], 255)
            for source, rows in zip(("train", "train", "test"), (train, valid, test), strict=True)
        ]
        if parts[0].x.shape[1] > 1:
            deviation, mean = torch.std_mean(parts[0].x, dim=(0, 2, 3), keepdim=True, correction=0)
            parts = [LabelledSet((part.x - mean) / deviation, part.y) for part in parts]

        return ImageData(*parts, n_classes=self.n_classes)

    def arrays(self, run: Run) -> dict[str, np.ndarray]:
        """Return ``train_x``, ``train_y``, ``test_x`` and ``test_y`` as published."""
        return load(self.raw)


@dataclass
class FashionMnist(Published):
    """Fashion-MNIST, ``(1, 28, 28)`` in [0, 1]."""

    raw: ClassVar[RawData] = FASHION_MNIST
    n_published: ClassVar[int] = 60_000
    n_classes: ClassVar[int] = 10


@dataclass
class Cifar10(Published):
    """CIFAR-10, ``(3, 32, 32)``, channels standardised."""

    raw: ClassVar[RawData] = CIFAR10
    n_published: ClassVar[int] = 50_000
    n_classes: ClassVar[int] = 10


@dataclass
class Cifar100(Published):
    """
    CIFAR-100, ``(3, 32, 32)``, channels standardised; the user puts its files into a folder (see :mod:`plugins.data.images.cifar100`).

    Args:
        n_train: Training samples.
        n_valid: Validation samples; 50,000 with the training samples at most.
        n_test: Test samples, 10,000 at most.
        digest: SHA-256 over the files, ``test`` first; any are accepted where it is empty. A file that changes leaves known trials known unless a suite gives it.
    """

    n_published: ClassVar[int] = 50_000
    n_classes: ClassVar[int] = 100

    digest: str = ""

    def arrays(self, run: Run) -> dict[str, np.ndarray]:
        """Read the files of the user."""
        return load_cifar100(run, self.digest)


def _check_sizes(names: str, wanted: int, available: int) -> None:
    if wanted > available:
        raise ValueError(f"{names} is {wanted:,}, there are {available:,} samples")


def _labelled(pictures: np.ndarray, y: np.ndarray, brightest: int) -> LabelledSet:
    """Bring ``(n, height, width)`` or ``(n, height, width, 3)`` to ``(n, channels, height, width)`` float32 in [0, 1]."""
    x = pictures / np.float32(brightest)
    x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)

    return LabelledSet(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)), torch.from_numpy(y.astype(np.int64)))
