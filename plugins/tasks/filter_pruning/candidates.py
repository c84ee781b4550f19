"""Which units go: all ways to remove a share of a layer's, or some of them that are drawn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

__all__ = ["draw_candidates", "n_candidates", "n_removed"]

TOLERANCE = 1e-9  # 0.29 * 100 is 28.999999999999996


def n_removed(width: int, rate: float) -> int:
    """Return how many of ``width`` units go: the greatest whole number that is not above ``rate`` times as many, whatever the last bit says."""
    return math.floor(width * rate + TOLERANCE)


def n_candidates(widths: Sequence[int], rate: float) -> int:
    """Return in how many ways a share of the units of each of these layers can go."""
    return math.prod(math.comb(width, n_removed(width, rate)) for width in widths)


def draw_candidates(widths: Sequence[int], rate: float, most: int, rng: np.random.Generator) -> list[np.ndarray]:
    """
    Return candidates: all of them in lexicographic order where there are no more than ``most``, or else as many different ones, each layer's subset uniform.

    Args:
        widths: Units of each layer that loses some.
        rate: Share that it loses, in (0, 1).
        most: At least 2.
        rng: Draws them.

    Returns:
        For each layer ``(N, k)`` int64, the units that go, ascending.

    Raises:
        ValueError: A layer loses none or all of its units.
    """
    sizes = [n_removed(width, rate) for width in widths]
    for width, size in zip(widths, sizes, strict=True):
        if not 0 < size < width:
            raise ValueError(f"a rate of {rate:g} removes {size} of {width} units; at least one has to go and one to stay")
    if n_candidates(widths, rate) <= most:
        ways = itertools.product(*(itertools.combinations(range(width), size) for width, size in zip(widths, sizes, strict=True)))
        found = list(ways)
    else:
        drawn: dict[tuple[tuple[int, ...], ...], None] = {}
        while len(drawn) < most:
            drawn[
                tuple(tuple(sorted(rng.choice(width, size, replace=False).tolist())) for width, size in zip(widths, sizes, strict=True))
            ] = None
        found = list(drawn)

    return [np.array([way[place] for way in found], dtype=np.int64) for place in range(len(widths))]
