"""Uniform grids: where a value lies on its levels, which weights are near a rounding threshold, and grids that the range of the values decides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = [
    "ActivationQuantizer",
    "Affine",
    "AffineActivation",
    "AffineWeight",
    "Grid",
    "WeightQuantizer",
    "affine",
    "checked_bits",
    "min_max",
    "near_threshold",
    "shrunk",
    "signed_range",
    "straight_through",
    "symmetric",
]

LEAST_BITS = 2
SHRINKINGS = 80  # of the range by 1 % each, as GPTQ's code searches


class Grid(NamedTuple):
    """
    Where a weight lies on the levels of its quantiser: level k stands for ``step * (k + offset)``.

    Args:
        position: As the weight, in steps, clamped to the grid; what is rounded.
        levels: As the weight, whole numbers.
        step: Broadcasts over the weight.
        offset: In half steps at the finest; broadcasts over the weight.
    """

    position: Tensor
    levels: Tensor
    step: Tensor
    offset: Tensor


class WeightQuantizer(nn.Module, ABC):
    """
    Maps a weight to one of few levels.

    Args:
        bits: b; there are ``2^b`` levels at most.

    Raises:
        ValueError: There are fewer than two bits.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = checked_bits(bits)

    @abstractmethod
    def grid(self, weight: Tensor) -> Grid:
        """Return where a weight lies, without gradient."""

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantised weight, with whatever gradient the quantiser has."""


class ActivationQuantizer(nn.Module, ABC):
    """
    Maps activations to one of few levels; :meth:`start` sets its scales from the first activations that it sees.

    Args:
        bits: b; there are ``2^b`` levels at most.

    Raises:
        ValueError: There are fewer than two bits.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = checked_bits(bits)
        self.is_started = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantised activations."""
        if not self.is_started:
            with torch.no_grad():
                self.start(x)
            self.is_started = True

        return self.quantized(x)

    @abstractmethod
    def start(self, x: Tensor) -> None:
        """Set the scales."""

    @abstractmethod
    def quantized(self, x: Tensor) -> Tensor:
        """Return the quantised activations."""


def checked_bits(bits: int) -> int:
    """
    Return the bits.

    Raises:
        ValueError: There are fewer than two: one bit has no level beside the outermost ones, and the formulas of this task divide by how many there are.
    """
    if bits < LEAST_BITS:
        raise ValueError(f"{bits} bit makes no grid of this task: take {LEAST_BITS} bits or more")

    return bits


def signed_range(bits: int) -> tuple[int, int]:
    """Return the least and the greatest level of a two's complement number: ``-2^(b-1)`` and ``2^(b-1) - 1``."""
    half = 1 << (checked_bits(bits) - 1)

    return -half, half - 1


def straight_through(weight: Tensor, quantized: Tensor) -> Tensor:
    """Return ``quantized``, to the last bit, whose gradient is that of ``weight``, everywhere."""
    return _StraightThrough.apply(weight, quantized)  # type: ignore[no-untyped-call,no-any-return]  # torch leaves it untyped


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, weight: Tensor, quantized: Tensor) -> Tensor:
        return quantized.view_as(quantized)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def near_threshold(position: Tensor, reach: float) -> Tensor:
    """
    Return which positions are within ``reach`` of a threshold between two levels that are in use.

    Source: OFQ's released code (Liu et al. 2023, arXiv:2302.02210), whose outermost levels are those that some weight has.

    Args:
        position: In steps, clamped to the grid.
        reach: In steps, at least 0.

    Returns:
        Of the same shape, boolean.
    """
    levels = position.round()
    low, high = levels.min(), levels.max()
    below = position.floor().clamp(low, (high - 1).clamp(min=low))  # the nearest threshold in use lies half a step above this level

    return ((position - below - 0.5).abs() <= reach) & (low < high)


class Affine(NamedTuple):
    """
    Levels ``step * (k - zero)`` for k in ``0 .. top``.

    Args:
        step: Broadcasts over the values.
        zero: The level of 0, a whole number.
        top: The last level.
    """

    step: Tensor
    zero: Tensor
    top: int

    def levels(self, values: Tensor) -> Tensor:
        """Return the nearest levels, halves to even."""
        return ((values / self.step).round() + self.zero).clamp(0, self.top)

    def nearest(self, values: Tensor) -> Tensor:
        """Return the nearest values of the grid."""
        return self.step * (self.levels(values) - self.zero)


def affine(low: Tensor, high: Tensor, bits: int) -> Affine:
    """Return the ``2^b`` levels over a range that is made to contain 0; an empty one has the step 1, so that zeros stay zeros."""
    top = (1 << checked_bits(bits)) - 1
    low, high = low.clamp(max=0), high.clamp(min=0)
    step = (high - low) / top
    step = torch.where(step > 0, step, 1)

    return Affine(step, (-low / step).round(), top)


def symmetric(largest: Tensor, bits: int) -> Affine:
    """Return the ``2^b - 1`` levels around 0 whose outermost ones are ``largest`` away."""
    half = signed_range(bits)[1]
    step = largest / half
    step = torch.where(step > 0, step, 1)

    return Affine(step, torch.full_like(step, half), 2 * half)


def min_max(weight: Tensor, bits: int, is_symmetric: bool = False, per_row: bool = True) -> Affine:
    """
    Return the grid over the whole range of a weight.

    Args:
        weight: ``(out, in)``.
        bits: b.
        is_symmetric: Whether 0 is in the middle, of ``2^b - 1`` levels then.
        per_row: Whether each row has a grid of its own.
    """
    rows = weight if per_row else weight.reshape(1, -1)
    if is_symmetric:
        return symmetric(rows.abs().amax(dim=1, keepdim=True), bits)

    return affine(rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True), bits)


def shrunk(values: Tensor, low: Tensor, high: Tensor, bits: int) -> Affine:
    """
    Return the grid over that part of a range, 100 % to 21 % of it, which has the least squared error.

    Args:
        values: What is quantised.
        low: Least values, of a shape to which values that share a grid are summed.
        high: Greatest values, likewise.
        bits: b.
    """
    best = affine(low, high, bits)
    least = (best.nearest(values) - values).square().sum_to_size(low.shape)
    for i in range(1, SHRINKINGS):
        share = 1 - i / 100
        tried = affine(share * low, share * high, bits)
        error = (tried.nearest(values) - values).square().sum_to_size(low.shape)
        better = error < least
        best = Affine(torch.where(better, tried.step, best.step), torch.where(better, tried.zero, best.zero), best.top)
        least = torch.where(better, error, least)

    return best


class AffineWeight(WeightQuantizer):
    """
    A grid that does not change: the nearest level of each weight.

    Args:
        grid: The levels.
        bits: b.
    """

    def __init__(self, grid: Affine, bits: int) -> None:
        super().__init__(bits)
        self.step: Tensor
        self.zero: Tensor
        self.register_buffer("step", grid.step)
        self.register_buffer("zero", grid.zero)
        self.top = grid.top

    @property
    def affine(self) -> Affine:
        """The levels."""
        return Affine(self.step, self.zero, self.top)

    def grid(self, weight: Tensor) -> Grid:
        """Return where a weight lies."""
        weight = weight.detach()

        return Grid((weight / self.step + self.zero).clamp(0, self.top), self.affine.levels(weight), self.step, -self.zero)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the nearest values of the grid, whose gradient is that of the weight."""
        return straight_through(weight, self.affine.nearest(weight.detach()))


class AffineActivation(ActivationQuantizer):
    """
    A grid over the range of the first activations, for each scale of its own.

    Args:
        bits: b.
        scales: Shape of the scales.
        search: Whether the range is shrunk to the least squared error.
    """

    def __init__(self, bits: int, scales: tuple[int, ...], search: bool) -> None:
        super().__init__(bits)
        self.scales, self.search = scales, search
        self.affine: Affine | None = None

    def start(self, x: Tensor) -> None:
        """Look for the range."""
        shared = [i for i in range(x.ndim) if (i < x.ndim - len(self.scales) or self.scales[i - x.ndim] == 1)]
        low, high = (values.reshape(self.scales) for values in (x.amin(dim=shared), x.amax(dim=shared)))
        self.affine = shrunk(x, low, high, self.bits) if self.search else affine(low, high, self.bits)

    def quantized(self, x: Tensor) -> Tensor:
        """Return the nearest values of the grid."""
        assert self.affine is not None  # forward() has started it

        return self.affine.nearest(x)
