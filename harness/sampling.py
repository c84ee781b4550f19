"""What a random sample of records proves of the others."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

__all__ = ["detection_probability", "draw_sample", "largest_unseen"]


def draw_sample(names: Iterable[str], size: int, seed: int) -> list[str]:
    """Draw ``size`` of the names without replacement (all, where there are fewer); their order does not matter."""
    pool = sorted(set(names))

    return random.Random(seed).sample(pool, min(size, len(pool)))


def detection_probability(total: int, altered: int, sample: int) -> float:
    """
    Return the chance that a random sample holds at least one altered record: ``1 - C(N - m, k) / C(N, k)``.

    Args:
        total: Records, N.
        altered: Those that were altered, m.
        sample: Those that are drawn without replacement, k.

    Raises:
        ValueError: There are not so many records.
    """
    if not (0 <= altered <= total and 0 <= sample <= total):
        raise ValueError(f"{altered} altered and {sample} drawn of {total}")

    # One division of integers: a difference of logarithms would lose small chances.
    return (math.comb(total, sample) - math.comb(total - altered, sample)) / math.comb(total, sample)


def largest_unseen(total: int, sample: int, chance: float = 0.05) -> int:
    """Return how many of ``total`` records may be altered at most while a sample misses all of them with at least this chance."""
    low, high = 0, total
    while low < high:
        middle = (low + high + 1) // 2
        if math.comb(total - middle, sample) / math.comb(total, sample) >= chance:
            low = middle
        else:
            high = middle - 1

    return low
