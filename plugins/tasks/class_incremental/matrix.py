"""
Figures of an accuracy matrix R: ``R[i, j]`` is the accuracy on the test samples of experience j after learning experience i, both counted from 0.

What stands above the diagonal is not read. T is the number of experiences.
"""

from __future__ import annotations

import numpy as np

__all__ = ["average_incremental", "backward_transfer", "final_average", "forgetting", "learning_accuracy"]


def final_average(r: np.ndarray) -> float:
    """Return the mean over the experiences after the last one."""
    return float(r[-1].mean())


def average_incremental(r: np.ndarray) -> float:
    """Return the mean over the steps of the mean over the experiences so far."""
    return float(np.mean([r[i, : i + 1].mean() for i in range(len(r))]))


def forgetting(r: np.ndarray) -> float | None:
    """
    Return how far the accuracy of an experience falls from its best before the last step, mean over all but the last; ``None`` for one experience.

    Below 0 where later experiences help more than they harm.
    """
    if len(r) == 1:
        return None

    return float(np.mean([r[j:-1, j].max() - r[-1, j] for j in range(len(r) - 1)]))


def backward_transfer(r: np.ndarray) -> float | None:
    """Return what an experience has gained since it was learned, mean over all but the last; ``None`` for one experience."""
    if len(r) == 1:
        return None

    return float((r[-1] - np.diag(r))[:-1].mean())


def learning_accuracy(r: np.ndarray) -> float:
    """Return the mean accuracy of an experience as it has just been learned."""
    return float(np.diag(r).mean())
