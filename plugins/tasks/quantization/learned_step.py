"""LSQ (Esser et al. 2020, arXiv:1902.08153): the step of a grid is learned along with the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from plugins.tasks.quantization.grids import ActivationQuantizer, Grid, WeightQuantizer, checked_bits, signed_range

__all__ = ["LsqActivation", "LsqWeight", "initial_step", "learned_step", "level_range"]

LEAST_STEP = 1e-5


def learned_step(x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
    """
    Return ``step * round(clamp(x / step, low, high))``.

    The gradient reaches x where it is not clamped. That of the step is ``round(x / step) - x / step`` there, and the outermost level elsewhere, times
    ``1 / sqrt(high * n)`` with the number n of values that share the step.

    Args:
        x: Any shape.
        step: Broadcasts over ``x``; below 1e-5 it counts as that.
        low: Least level.
        high: Greatest level, at least 1.
    """
    return _LearnedStep.apply(x, step.clamp(min=LEAST_STEP), low, high)  # type: ignore[no-untyped-call,no-any-return]  # torch leaves it untyped


class _LearnedStep(torch.autograd.Function):
    """In one piece, which keeps what the gradient needs: half of the elementwise passes that a graph of single operations makes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: int, high: int) -> Tensor:  # Any: torch's context
        position = x / step
        clamped = position.clamp(low, high)
        inside = (position == clamped).to(x.dtype)
        levels = clamped.round_()
        ctx.save_for_backward(inside, torch.addcmul(levels, position, inside, value=-1))
        ctx.shape, ctx.share = step.shape, math.sqrt(high * x.numel() / step.numel())

        return levels * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (gradient,), (inside, of_step) = gradients, ctx.saved_tensors

        return gradient * inside, (gradient * of_step).sum_to_size(ctx.shape) / ctx.share, None, None


def level_range(bits: int, signed: bool) -> tuple[int, int]:
    """Return the least and the greatest level."""
    return signed_range(bits) if signed else (0, (1 << checked_bits(bits)) - 1)


def initial_step(x: Tensor, bits: int, shape: tuple[int, ...], signed: bool = True) -> Tensor:
    """
    Return ``2 mean |x| / sqrt(high)``, twice that for levels that begin at 0.

    Args:
        x: Any shape.
        bits: b.
        shape: Of the steps; the mean is over the values that share one.
        signed: Whether levels may be below 0.
    """
    mean = x.abs().sum_to_size(shape) * (math.prod(shape) / x.numel())

    return (2 if signed else 4) * mean / math.sqrt(level_range(bits, signed)[1])


class LsqWeight(WeightQuantizer):
    """
    A weight with one learned step for each row.

    Args:
        weight: ``(out, in)``, whose mean decides the first steps.
        bits: b.
    """

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__(bits)
        self.step = nn.Parameter(initial_step(weight.detach(), bits, (len(weight), 1)))

    def grid(self, weight: Tensor) -> Grid:
        """Return where a weight lies."""
        step = self.step.detach().clamp(min=LEAST_STEP)
        position = (weight.detach() / step).clamp(*signed_range(self.bits))

        return Grid(position, position.round(), step, torch.zeros_like(step))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantised weight."""
        return learned_step(weight, self.step, *signed_range(self.bits))


class LsqActivation(ActivationQuantizer):
    """
    Activations with learned steps, and a learned number for each feature before and behind, 0 at first, as OFQ's code has them.

    Args:
        bits: b.
        scales: Shape of the steps.
        channels: Width of the last axis, where it has features; else nothing is added.
        signed: Whether levels may be below 0.
    """

    def __init__(self, bits: int, scales: tuple[int, ...], channels: int | None, signed: bool) -> None:
        super().__init__(bits)
        self.signed = signed
        self.step = nn.Parameter(torch.ones(scales))
        self.before, self.behind = (None if channels is None else nn.Parameter(torch.zeros(channels)) for _ in range(2))

    def start(self, x: Tensor) -> None:
        """Set the steps from the mean of the first activations."""
        self.step.copy_(initial_step(x, self.bits, tuple(self.step.shape), self.signed))

    def quantized(self, x: Tensor) -> Tensor:
        """Return the quantised activations."""
        if self.before is None or self.behind is None:
            return learned_step(x, self.step, *level_range(self.bits, self.signed))

        return learned_step(x + self.before, self.step, *level_range(self.bits, self.signed)) + self.behind
