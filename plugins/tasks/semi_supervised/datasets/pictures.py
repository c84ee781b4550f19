"""Picture sets that come by themselves; the stream ``split`` draws their parts, with the class shares of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness import RawData, Run
from harness.data import load
from harness.training.sampling import stratified_subset
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.tasks.semi_supervised.datasets.labels import LabelSettings, Part, Size, semi_supervised_dataset
from plugins.tasks.semi_supervised.protocol import SemiSupervisedDataset
from plugins.tasks.semi_supervised.views import PictureViews

__all__ = ["CanonicalPictures", "Cifar10", "FashionMnist", "draw_parts"]


@dataclass
class CanonicalPictures(LabelSettings):
    """
    Pictures that are published in two parts: training and validation set come from the first, the test set from the second.

    Args:
        n_train: Training samples, labelled or not.
        n_valid: Validation samples; with the training samples as many as the published training set has, at most.
        n_test: Test samples.
    """

    n_classes: ClassVar[int] = 10
    n_published: ClassVar[tuple[int, int]]

    n_train: Size = 4000
    n_valid: Size = 500
    n_test: Size = 2000

    def __post_init__(self) -> None:
        for names, wanted, available in (
            ("n_train + n_valid", self.n_train + self.n_valid, self.n_published[0]),
            ("n_test", self.n_test, self.n_published[1]),
        ):
            if wanted > available:
                raise ValueError(f"{names} is {wanted:,}, there are {available:,} pictures")

    def load(self, run: Run) -> SemiSupervisedDataset:
        """Split, scale and hide labels."""
        train, test = self.published(run)
        rng = run.rng("split")
        rows = draw_parts(train.y, [self.n_train, self.n_valid], rng)
        (test_rows,) = draw_parts(test.y, [self.n_test], rng)
        run.witness("split", np.concatenate([*rows, test_rows]))
        parts = [
            Part(scaled(source.x[chosen]), source.y[chosen]) for source, chosen in ((train, rows[0]), (train, rows[1]), (test, test_rows))
        ]

        return semi_supervised_dataset(self, parts, self.n_classes, PictureViews(), run)

    def published(self, run: Run) -> list[Part]:
        """Return the published training and test set, pictures ``(N, height, width)`` or ``(N, height, width, 3)`` uint8."""
        raise NotImplementedError


@dataclass
class FetchedPictures(CanonicalPictures):
    """Those of which a source is known."""

    raw: ClassVar[RawData]

    def published(self, run: Run) -> list[Part]:
        """Read from the cache."""
        arrays = load(self.raw)

        return [Part(arrays[f"{part}_x"], arrays[f"{part}_y"]) for part in ("train", "test")]


@dataclass
class FashionMnist(FetchedPictures):
    """Fashion-MNIST, ``(1, 28, 28)`` in [0, 1]."""

    raw: ClassVar[RawData] = FASHION_MNIST
    n_published: ClassVar[tuple[int, int]] = (60_000, 10_000)


@dataclass
class Cifar10(FetchedPictures):
    """CIFAR-10, ``(3, 32, 32)`` in [0, 1]."""

    raw: ClassVar[RawData] = CIFAR10
    n_published: ClassVar[tuple[int, int]] = (50_000, 10_000)


def draw_parts(y: np.ndarray, sizes: list[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Draw disjoint sets of positions of these sizes, each with the class shares of what is left."""
    left = np.arange(len(y))
    parts = []
    for size in sizes:
        drawn = stratified_subset(y[left], size, rng)
        parts.append(left[drawn])
        left = np.delete(left, drawn)

    return parts


def scaled(pictures: np.ndarray) -> np.ndarray:
    """Bring ``(N, height, width)`` or ``(N, height, width, 3)`` uint8 to ``(N, channels, height, width)`` float32 in [0, 1]."""
    x = pictures / np.float32(255)

    return x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
