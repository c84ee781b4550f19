"""The table of picture sets, one entry a set, and the one way in which tasks read, divide and scale them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness import RawData
from harness.data import load
from harness.training.parts import Part, Split, check_sizes
from harness.training.sampling import stratified_subset
from plugins.data.images import animals, cifar10, digits, fashion_mnist, mnist, optdigits

if TYPE_CHECKING:
    from harness import Run

__all__ = [
    "ANIMALS",
    "CIFAR10",
    "CIFAR100",
    "DIGITS",
    "FASHION_MNIST",
    "MNIST",
    "OPTDIGITS",
    "STL10",
    "SVHN",
    "PictureSet",
    "draw_split",
    "published_parts",
    "scaled",
    "scaled_parts",
    "shuffled_split",
]


@dataclass(frozen=True)
class PictureSet:
    """
    A set as it is published: in one part, which all three of a task come from, or in two, of which the second has the test samples.

    Args:
        raw: Where its arrays are; ``None`` where the user puts the publisher's files into a folder.
        sizes: Samples of each published part.
        brightest: What a white pixel counts.
        n_classes: Number of classes.
    """

    raw: RawData | None
    sizes: tuple[int, ...]
    brightest: int = 255
    n_classes: int = 10

    def check(self, n_train: int, n_valid: int, n_test: int) -> None:
        """
        Refuse a split that needs more samples than there are.

        Raises:
            ValueError: It does.
        """
        if len(self.sizes) == 1:
            check_sizes("n_train + n_valid + n_test", n_train + n_valid + n_test, self.sizes[0])
        else:
            check_sizes("n_train + n_valid", n_train + n_valid, self.sizes[0])
            check_sizes("n_test", n_test, self.sizes[1])

    def read(self) -> list[Part]:
        """
        Return the published parts, pictures ``(N, height, width)`` or ``(N, height, width, 3)`` uint8.

        Raises:
            ValueError: No source is known.
        """
        if self.raw is None:
            raise ValueError("no package carries these pictures: read the user's files, and take 'published_parts' of them")

        return published_parts(load(self.raw))


ANIMALS = PictureSet(animals.ANIMALS, (10_000,))
CIFAR10 = PictureSet(cifar10.CIFAR10, (50_000, 10_000))
CIFAR100 = PictureSet(None, (50_000, 10_000), n_classes=100)
DIGITS = PictureSet(digits.DIGITS, (1797,), brightest=16)
FASHION_MNIST = PictureSet(fashion_mnist.FASHION_MNIST, (60_000, 10_000))
MNIST = PictureSet(mnist.MNIST, (60_000, 10_000))
OPTDIGITS = PictureSet(optdigits.OPTDIGITS, (5620,), brightest=16)
STL10 = PictureSet(None, (5_000, 8_000))
SVHN = PictureSet(None, (604_388, 26_032))


def published_parts(arrays: dict[str, np.ndarray]) -> list[Part]:
    """Return the one part of ``x`` and ``y``, or the two of ``train_x``, ``train_y``, ``test_x`` and ``test_y``."""
    if "x" in arrays:
        return [Part(arrays["x"], arrays["y"])]

    return [Part(arrays[f"{name}_x"], arrays[f"{name}_y"]) for name in ("train", "test")]


def shuffled_split(published: Sequence[Part], n_train: int, n_valid: int, n_test: int, run: Run) -> Split:
    """Cut the parts from one random order of each published part, by the stream ``split``, and witness them."""
    rng, n_fitted = run.rng("split"), n_train + n_valid
    if len(published) == 1:
        order = rng.permutation(len(published[0].y))[: n_fitted + n_test]
        test = order[n_fitted:]
    else:
        order = rng.permutation(len(published[0].y))[:n_fitted]
        test = rng.permutation(len(published[1].y))[:n_test]
    split = Split(order[:n_train], order[n_train:n_fitted], test)
    run.witness("split", np.concatenate(split))

    return split


def draw_split(published: Sequence[Part], n_train: int, n_valid: int, n_test: int, rng: np.random.Generator, stratified: bool) -> Split:
    """Draw the parts one after the other from what is left, with the class shares of what is left up to rounding where ``stratified``; none is witnessed."""
    if len(published) == 1:
        return Split(*_drawn(published[0].y, [n_train, n_valid, n_test], rng, stratified))
    train, valid = _drawn(published[0].y, [n_train, n_valid], rng, stratified)
    (test,) = _drawn(published[1].y, [n_test], rng, stratified)

    return Split(train, valid, test)


def scaled(pictures: np.ndarray, brightest: int = 255) -> np.ndarray:
    """Bring ``(N, height, width)`` or ``(N, height, width, 3)`` to ``(N, channels, height, width)`` float32 in [0, 1]."""
    x = pictures / np.float32(brightest)

    return x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)


def scaled_parts(published: Sequence[Part], split: Split, brightest: int) -> list[Part]:
    """Return training, validation and test set, pictures as :func:`scaled` has them."""
    sources = (published[0], published[0], published[-1])

    return [Part(scaled(source.x[rows], brightest), source.y[rows]) for source, rows in zip(sources, split, strict=True)]


def _drawn(y: np.ndarray, sizes: Sequence[int], rng: np.random.Generator, stratified: bool) -> list[np.ndarray]:
    left = np.arange(len(y))
    parts = []
    for size in sizes:
        drawn = stratified_subset(y[left], size, rng) if stratified else rng.permutation(len(left))[:size]
        parts.append(left[drawn])
        left = np.delete(left, drawn)

    return parts
