"""
Which entries of a weight matrix to train: scores of entries, of which the largest are taken.

A score is a tensor of the weight's shape. Selections are flat positions, row by row, in ascending order.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "gradient_magnitude",
    "largest_entries",
    "mask_of",
    "movement",
    "random_scores",
    "selected_count",
    "weight_magnitude",
]


def selected_count(rows: int, columns: int, selected_rank: int) -> int:
    """
    Return how many entries are selected: what a LoRA of rank ``selected_rank`` trains, or all.

    >>> selected_count(576, 576, 20), selected_count(6, 4, 3)
    (23040, 24)
    """
    return min((rows + columns) * selected_rank, rows * columns)


def weight_magnitude(weight: Tensor) -> Tensor:
    """Return ``|W|``."""
    return weight.abs()


def gradient_magnitude(gradient: Tensor) -> Tensor:
    """Return ``|dL/dW|``."""
    return gradient.abs()


def movement(weight: Tensor, gradient: Tensor) -> Tensor:
    """
    Return ``-W dL/dW``: large where a step leads an entry away from 0. Summed over steps it is the score of movement pruning.

    Source: Sanh et al. 2020, arXiv:2005.07683, equation (4).
    """
    return -weight * gradient


def random_scores(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random number for each entry, on the weight's device; ``generator`` is one of the CPU."""
    return torch.rand(weight.shape, generator=generator).to(weight.device)


def largest_entries(scores: Tensor, count: int, largest: bool = True) -> Tensor:
    """
    Return the positions of the ``count`` largest scores, or of the smallest ones, ``(count,)`` int32; exactly as many, whatever ties there are.

    Args:
        scores: ``(m, n)``.
        count: In ``0 .. m n``.
        largest: Which end.
    """
    return scores.flatten().topk(count, largest=largest, sorted=False).indices.sort().values.int()


def mask_of(indices: Tensor, shape: torch.Size) -> Tensor:
    """Return ``(m, n)`` bool, true at the positions."""
    mask = torch.zeros(shape.numel(), dtype=torch.bool, device=indices.device)
    mask[indices.long()] = True

    return mask.view(shape)
