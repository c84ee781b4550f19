"""The inner problem of DONE with a log barrier instead of the walls of its box (arXiv:2308.00311, equation 7), and what its solution adds to the gradient."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from harness.training.attacks import ball_around

__all__ = ["Barrier", "Box", "barrier_at", "barrier_minimiser", "box_of", "implicit_term"]


class Box(NamedTuple):
    """
    Where a perturbation may lie: ``|d| <= eps`` and ``0 <= x + d <= 1`` in one.

    Args:
        lower: ``(B, ...)``, at most 0.
        upper: ``(B, ...)``, at least 0.
    """

    lower: Tensor
    upper: Tensor


class Barrier(NamedTuple):
    """
    The barrier ``-c sum [log(upper - d) + log(d - lower)]`` at a perturbation.

    Args:
        value: ``(B,)``.
        slope: ``(B, ...)``.
        curvature: ``(B, ...)``, the diagonal of its Hessian, which is all there is of it.
    """

    value: Tensor
    slope: Tensor
    curvature: Tensor


def box_of(x: Tensor, eps: float) -> Box:
    """
    Return the box around pictures.

    Raises:
        ValueError: ``eps`` or a pixel is not in [0, 1].
    """
    ball = ball_around(x, eps)

    return Box(ball.lower - x, ball.upper - x)


def barrier_at(delta: Tensor, box: Box, c: float) -> Barrier:
    """
    Return the barrier.

    Args:
        delta: ``(B, ...)``, strictly inside of the box.
        box: Where it lies.
        c: Above 0.
    """
    above, below = box.upper - delta, delta - box.lower

    return Barrier(-c * (above.log() + below.log()).flatten(1).sum(dim=1), c / above - c / below, c / above.square() + c / below.square())


def barrier_minimiser(slope: Tensor, box: Box, c: Tensor | float) -> Tensor:
    """
    Return the minimiser of ``slope d - c log(upper - d) - c log(d - lower)`` of each coordinate: the solution where the objective is linear.

    With ``m`` the middle of the box and ``h`` half its width it is ``m - slope h^2 / (c + sqrt(c^2 + slope^2 h^2))``, at a distance of about ``c / |slope|``
    from the face where that is small.

    Args:
        slope: ``(...)``, of what is minimised.
        box: Of the same shape; a coordinate without room stays where it is.
        c: Above 0.
    """
    middle, half = (box.upper + box.lower) / 2, (box.upper - box.lower) / 2

    return middle - slope * half.square() / (c + (c**2 + (slope * half).square()).sqrt())


def implicit_term(slope: Tensor, delta: Tensor, box: Box, c: Tensor | float) -> Tensor:
    """
    Return ``<dl/dd, v>`` of each sample, ``v = H^-1 dl/dd`` held fixed: its gradient by the weights is what a moved solution adds to that of the loss.

    ``H`` is the barrier's Hessian alone, exact where the loss is piecewise linear in the pictures. At a wall ``v`` is 0, and nothing is added.

    Args:
        slope: ``(B, ...)``, gradient of the losses by the perturbations, with a graph.
        delta: ``(B, ...)``, the solution of the inner problem.
        box: Where it lies.
        c: Above 0.

    Returns:
        ``(B,)``; add it to the losses, for their gradient alone.
    """
    above, below = box.upper - delta, delta - box.lower
    room = (above * below).square()  # 1 / (1 / above^2 + 1 / below^2), without a division by a coordinate that has none
    inverse = room / (above.square() + below.square()).clamp(min=torch.finfo(room.dtype).tiny) / c

    return (slope * (inverse * slope).detach()).flatten(1).sum(dim=1)
