"""Functions of quantiles that the task ``quantile_regression``, its base models and its methods share."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

__all__ = ["check_levels", "isotonic", "normal_quantiles", "pinball", "pinball_array"]


def check_levels(levels: np.ndarray) -> None:
    """
    Refuse levels that are no strictly increasing sequence inside (0, 1).

    Args:
        levels: ``(m,)``.

    Raises:
        ValueError: Naming the first level that is wrong.
    """
    if levels.ndim != 1 or len(levels) == 0:
        raise ValueError("'levels' is empty: at least one quantile level is needed")
    outside = levels[~((levels > 0) & (levels < 1))]
    if len(outside) > 0:
        raise ValueError(f"'levels' holds {outside[0]:g}, which is not between 0 and 1")
    later = np.flatnonzero(np.diff(levels) <= 0)
    if len(later) > 0:
        first, second = levels[later[0]], levels[later[0] + 1]
        what = "repeats" if first == second else "is not sorted:"
        raise ValueError(f"'levels' {what} {first:g}{'' if first == second else f' stands before {second:g}'}; they must rise strictly")


def pinball(predicted: Tensor, y: Tensor, levels: Tensor, smoothing: float = 0.0) -> Tensor:
    """
    Return ``max(t * e, (t - 1) * e)`` with ``e = y - q``, the loss that the t-quantile minimises.

    With ``smoothing`` a > 0 the kink is rounded: ``|e|`` becomes Huber's ``e ** 2 / (2 a)`` below ``a`` and ``|e| - a / 2`` above.

    Args:
        predicted: ``(n, m)``, q.
        y: ``(n,)``.
        levels: ``(m,)``, or ``(n, m)`` where each sample has its own.
        smoothing: 0 leaves the loss as it is.

    Returns:
        ``(n, m)``, in the unit of ``y``.
    """
    error = y[:, None] - predicted
    if smoothing == 0:
        return torch.maximum(levels * error, (levels - 1) * error)
    size = error.abs()
    rounded = torch.where(size < smoothing, error**2 / (2 * smoothing), size - smoothing / 2)

    return rounded * torch.where(error >= 0, levels, 1 - levels)


def pinball_array(predicted: np.ndarray, y: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return :func:`pinball` of arrays, without smoothing: ``(n, m)``."""
    error = y[:, None] - predicted
    losses: np.ndarray = np.maximum(levels * error, (levels - 1) * error)

    return losses


def normal_quantiles(mean: np.ndarray, scale: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the quantiles of normal distributions of means and standard deviations ``(n,)`` at levels ``(m,)``: ``(n, m)``."""
    quantiles: np.ndarray = mean[:, None] + scale[:, None] * ndtri(levels)

    return quantiles


def isotonic(predicted: Tensor) -> Tensor:
    """
    Return the nearest non-decreasing vector to each row (unweighted least squares), as the pool-adjacent-violators algorithm gives it.

    By the min-max formula ``max over i <= k of min over j >= k of mean(q_i .. q_j)``, for all rows at once; a gradient reaches each value of a pooled block
    by its share of the mean. Memory is ``n m ** 2``.

    Args:
        predicted: ``(n, m)``.
    """
    n, m = predicted.shape
    sums = torch.cat((predicted.new_zeros(n, 1), predicted.cumsum(dim=1)), dim=1)
    place = torch.arange(m, device=predicted.device)
    length = place[None, :] - place[:, None] + 1
    means = (sums[:, None, 1:] - sums[:, :-1, None]) / length.clamp(min=1)  # [row, i, j]: of q_i .. q_j
    means = means.masked_fill(length < 1, torch.inf)
    least = means.flip(2).cummin(dim=2).values.flip(2)  # [row, i, k]: over j >= k

    return least.masked_fill(length < 1, -torch.inf).amax(dim=1)
