"""
Subsets of labelled samples: with the class shares of the whole, or with a long tail.

The class of the smallest label is the largest of a long tail, as in the papers. "Ratio" is that of the largest class to the smallest.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["TailShape", "long_tail_counts", "long_tail_subset", "stratified_subset"]

TailShape = Literal["exponential", "step"]

ROUNDING = 1e-9  # a count that is whole, computed a little below it, is not cut to the next smaller


def stratified_subset(y: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """
    Draw ``n`` samples without replacement that keep the share of each class up to rounding.

    A class of ``m`` of the ``N`` samples gets ``n m / N``, rounded up or down; the classes with the largest remainders are rounded up, the smaller label
    first where remainders are equal.

    Args:
        y: ``(N,)``, labels.
        n: In ``0 .. N``.
        rng: Decides the draw.

    Returns:
        ``(n,)`` int64, positions in ``y`` in random order.

    Raises:
        ValueError: There are fewer than ``n`` samples.
    """
    if not 0 <= n <= len(y):
        raise ValueError(f"n is {n:,}, there are {len(y):,} samples")
    classes, sizes = np.unique(y, return_counts=True)
    counts, remainders = np.divmod(n * sizes.astype(np.int64), max(len(y), 1))
    counts[np.argsort(-remainders, kind="stable")[: n - counts.sum()]] += 1
    drawn = [rng.permutation(np.flatnonzero(y == c))[:count] for c, count in zip(classes, counts, strict=True)]

    return rng.permutation(np.concatenate([np.empty(0, dtype=np.int64), *drawn]))


def long_tail_counts(n_largest: int, n_classes: int, ratio: float, shape: TailShape) -> np.ndarray:
    """
    Return how many samples each class of a long tail has.

    ``exponential`` (Cui et al. 2019, arXiv:1901.05555) falls from class to class by the same factor: class c of C has ``n_largest ratio^(-c / (C - 1))``.
    ``step`` (Buda et al. 2018, arXiv:1710.05381, half of the classes in the minority) leaves the first half, the middle class of an odd number included,
    as it is, and gives the others ``n_largest / ratio``. Fractions are cut off.

    Args:
        n_largest: Samples of the largest class.
        n_classes: C, at least 2.
        ratio: Largest class to smallest, at least 1.
        shape: Which law.

    Returns:
        ``(C,)`` int64, not increasing.

    Raises:
        ValueError: ``ratio`` is below 1, there are fewer than 2 classes, or the smallest class would be empty.
    """
    if not ratio >= 1:
        raise ValueError(f"ratio is {ratio}, it must be at least 1")
    if n_classes < 2:
        raise ValueError(f"a long tail needs 2 classes or more, there are {n_classes}")
    if n_largest / ratio < 1 - ROUNDING:
        raise ValueError(f"the largest class has {n_largest:,} samples, at ratio {ratio:g} the smallest would have none")

    return np.floor(n_largest * _shares(n_classes, ratio, shape) + ROUNDING).astype(np.int64)


def long_tail_subset(y: np.ndarray, ratio: float, shape: TailShape, rng: np.random.Generator) -> np.ndarray:
    """
    Draw the largest long tail that the labels allow.

    Where all classes are of one size, the first keeps all its samples; else the largest class is as large as the scarcest class, by its share, permits.

    Args:
        y: ``(N,)``, labels of at least 2 classes; the classes that occur count in the order of their labels.
        ratio: As in :func:`long_tail_counts`.
        shape: Likewise.
        rng: Decides which samples stay.

    Returns:
        ``(n,)`` int64, positions in ``y``; those that stay keep the order in which they were.

    Raises:
        ValueError: As :func:`long_tail_counts`.
    """
    classes, sizes = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"a long tail needs 2 classes or more, there are {len(classes)}")
    # Class c may have floor(n share_c) <= size_c samples; the bound on n is taken a little too high and lowered until it holds for all.
    n_largest = int(min(sizes.max(), ((sizes + 1) / _shares(len(classes), max(ratio, 1), shape)).min()))
    while (long_tail_counts(n_largest, len(classes), ratio, shape) > sizes).any():
        n_largest -= 1
    counts = long_tail_counts(n_largest, len(classes), ratio, shape)
    kept = [rng.permutation(np.flatnonzero(y == c))[:count] for c, count in zip(classes, counts, strict=True)]

    return np.sort(np.concatenate(kept))


def _shares(n_classes: int, ratio: float, shape: TailShape) -> np.ndarray:
    """Return the size of each class as a share of the largest."""
    rank = np.arange(n_classes)
    shares: np.ndarray = (
        ratio ** (-rank / (n_classes - 1)) if shape == "exponential" else np.where(rank < (n_classes + 1) // 2, 1, 1 / ratio)
    )

    return shares
