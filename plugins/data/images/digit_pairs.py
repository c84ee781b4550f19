"""Two digits side by side are one picture of a hundred classes: many classes from few pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["N_PAIR_CLASSES", "Pairs", "digit_pairs"]

N_PAIR_CLASSES = 100


class Pairs(NamedTuple):
    """
    Pictures of two digits.

    Args:
        x: ``(n, height, 2 width)``, of the type of the single pictures.
        y: ``(n,)`` int64, ten times the left digit and the right one.
    """

    x: np.ndarray
    y: np.ndarray


def digit_pairs(pictures: np.ndarray, digits: np.ndarray, n: int, rng: np.random.Generator) -> Pairs:
    """
    Draw pairs: each of the hundred classes equally often, up to one, in random order; for each side any picture of its digit, again and again.

    Pairs for training and for testing share no picture if they are drawn from sets that share none.

    Args:
        pictures: ``(m, height, width)``.
        digits: ``(m,)``, 0 to 9.
        n: Number of pairs.
        rng: Decides classes and pictures.

    Raises:
        ValueError: A digit has no picture.
    """
    places = [np.flatnonzero(digits == digit) for digit in range(10)]
    missing = [digit for digit, place in enumerate(places) if len(place) == 0]
    if missing:
        raise ValueError(f"there is no picture of the digit {missing[0]} among {len(digits)}; pairs need all ten")
    whole, rest = divmod(n, N_PAIR_CLASSES)
    y = rng.permutation(np.concatenate([np.tile(np.arange(N_PAIR_CLASSES), whole), rng.permutation(N_PAIR_CLASSES)[:rest]]))
    chosen = np.empty((2, n), dtype=np.int64)
    for side, wanted in enumerate(np.divmod(y, 10)):
        for digit, place in enumerate(places):
            here = wanted == digit
            chosen[side, here] = rng.choice(place, here.sum())

    return Pairs(np.concatenate([pictures[chosen[0]], pictures[chosen[1]]], axis=2), y)
