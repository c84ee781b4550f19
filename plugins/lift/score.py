"""LIFT's score of the entries of a weight matrix: their magnitude after its rank is reduced."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["low_rank_magnitude"]


def low_rank_magnitude(weight: Tensor, lra_rank: int) -> Tensor:
    """
    Return ``|W_r|``, where W_r keeps the r largest singular values of W: LIFT's score.

    Args:
        weight: W, ``(m, n)``; half precision is computed in float32.
        lra_rank: r, at least 1; from the smaller size of W on, W_r is W.
    """
    precise = weight if weight.dtype == torch.float64 else weight.float()
    if lra_rank >= min(weight.shape):
        return precise.abs()
    u, s, vh = torch.linalg.svd(precise, full_matrices=False)

    return ((u[:, :lra_rank] * s[:lra_rank]) @ vh[:lra_rank]).abs()
