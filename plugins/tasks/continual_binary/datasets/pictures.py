"""Streams of picture sets: the same pictures with their pixels in another order for each task, or one set and then another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge

from harness import Run
from harness.training.classifier import labelled_set
from plugins.data.images.sets import DIGITS, FASHION_MNIST, MNIST, PictureSet, scaled_parts, shuffled_split
from plugins.tasks.continual_binary.protocol import ContinualData, TaskData

__all__ = ["MnistThenFashion", "PermutedDigits", "PermutedMnist"]

Size = Annotated[int, Ge(1)]


@dataclass
class Permuted:
    """
    The same pictures in every task, their pixels in an order of the task's own, the first one's included; flattened.

    The stream ``split`` divides the pictures, ``permutations`` draws the orders.

    Args:
        n_tasks: Number of tasks.
        n_train: Training pictures.
        n_valid: Validation pictures.
        n_test: Test pictures.
        standardised: Whether pixels have mean 0 and standard deviation 1 over the training pictures, instead of lying in [0, 1]. A network without biases or
            normalisation, such as the variational one, cannot bring them there itself.
    """

    pictures: ClassVar[PictureSet]

    n_tasks: Size = 5
    n_train: Size = 32_000
    n_valid: Size = 2_000
    n_test: Size = 10_000
    standardised: bool = False

    def __post_init__(self) -> None:
        self.pictures.check(self.n_train, self.n_valid, self.n_test)

    def load(self, run: Run) -> ContinualData:
        """Split, scale and permute."""
        parts = _flat_parts(self.pictures, self.n_train, self.n_valid, self.n_test, self.standardised, run)
        rng = run.rng("permutations")
        orders = [rng.permutation(parts[0][0].shape[1]) for _ in range(self.n_tasks)]
        run.witness("permutations", np.array(orders))

        return ContinualData(
            tuple(TaskData(*(labelled_set(x[:, order], y) for x, y in parts)) for order in orders), n_classes=self.pictures.n_classes
        )


@dataclass
class PermutedDigits(Permuted):
    """
    Permuted digits of scikit-learn, 64 pixels.

    Args:
        n_tasks: Number of tasks.
        n_train: Training pictures.
        n_valid: Validation pictures.
        n_test: Test pictures; 1,797 in all at most.
        standardised: Instead of [0, 1], as in :class:`Permuted`.
    """

    pictures: ClassVar[PictureSet] = DIGITS

    n_train: Size = 1_058
    n_valid: Size = 200
    n_test: Size = 539


@dataclass
class PermutedMnist(Permuted):
    """Permuted MNIST, 784 pixels."""

    pictures: ClassVar[PictureSet] = MNIST


@dataclass
class MnistThenFashion:
    """
    MNIST, then Fashion-MNIST with the same ten labels, 784 pixels; both have their pixels where they are.

    Args:
        n_train: Training pictures of each.
        n_valid: Validation pictures of each.
        n_test: Test pictures of each.
        standardised: As in :class:`Permuted`, each of the two by itself.
    """

    n_train: Size = 32_000
    n_valid: Size = 2_000
    n_test: Size = 10_000
    standardised: bool = False

    def __post_init__(self) -> None:
        MNIST.check(self.n_train, self.n_valid, self.n_test)

    def load(self, run: Run) -> ContinualData:
        """Split and scale both."""
        tasks = []
        for pictures in (MNIST, FASHION_MNIST):
            parts = _flat_parts(pictures, self.n_train, self.n_valid, self.n_test, self.standardised, run)
            tasks.append(TaskData(*(labelled_set(*part) for part in parts)))

        return ContinualData(tuple(tasks), n_classes=10)


def _flat_parts(
    pictures: PictureSet, n_train: int, n_valid: int, n_test: int, standardised: bool, run: Run
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pictures ``(n, pixels)`` float32 and labels of the three parts."""
    published = pictures.read()
    parts = scaled_parts(published, shuffled_split(published, n_train, n_valid, n_test, run), pictures.brightest)
    flat = [(part.x.reshape(len(part.x), -1), part.y) for part in parts]
    if not standardised:
        return flat
    mean, deviation = flat[0][0].mean(), flat[0][0].std()

    return [((x - mean) / deviation, y) for x, y in flat]
