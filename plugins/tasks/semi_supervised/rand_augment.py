"""
RandAugment as semi-supervised learning on pictures uses it, and cut-out squares (Cubuk et al. 2020, arXiv:1909.13719; Sohn et al. 2020, arXiv:2001.07685).

Each picture draws operations and magnitudes of its own. ``kornia.augmentation.auto.RandAugment`` draws the operations once for a whole batch, which then is
changed alike, always with the same magnitude, and from torch's global generator; so kornia gives the operations on values here, with one parameter a picture,
applied to the part of the batch that drew them. Operations that move pixels take the nearest one and go by Pillow's coordinates, as the original does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_saturation_with_gray_subtraction,
    equalize,
    posterize,
    sharpness,
    solarize,
)
from torch import Tensor

__all__ = ["GREY", "OPERATIONS", "auto_contrast", "cut_out", "rand_augment", "rotate", "shear", "translate"]

GREY = 127 / 255
LEVELS = 10  # magnitudes are whole tenths of an operation's range


def rand_augment(x: Tensor, generator: torch.Generator, n_operations: int = 2, below: int = LEVELS, probability: float = 0.5) -> Tensor:
    """
    Change each picture by operations that it draws for itself, with replacement.

    A drawn operation is applied with ``probability`` only, with a magnitude of ``1 .. below - 1`` tenths of its range; its direction, where it has one, is
    drawn too.

    Args:
        x: ``(B, 3 or 1, height, width)`` in [0, 1]; what changes colours leaves grey pictures as they are.
        generator: Of the CPU.
        n_operations: Operations a picture, one after the other.
        below: Bound of the magnitude, at least 2.
        probability: Of each drawn operation.

    Returns:
        A new tensor of the same shape.
    """
    x = x.clone()
    n = len(x)
    for _ in range(n_operations):
        drawn = torch.randint(len(OPERATIONS), (n,), generator=generator)
        level = torch.randint(1, below, (n,), generator=generator).double() / LEVELS
        level = torch.where(torch.rand(n, generator=generator) < 0.5, -level, level)
        drawn[torch.rand(n, generator=generator) >= probability] = -1
        for i, operation in enumerate(OPERATIONS.values()):
            chosen = torch.nonzero(drawn == i).squeeze(1)
            if len(chosen) > 0:
                rows = chosen.to(x.device)
                x[rows] = operation(x[rows], level[chosen].to(x.device))

    return x


def cut_out(x: Tensor, side: int, value: float, generator: torch.Generator) -> Tensor:
    """
    Fill a square of each picture; its middle is drawn evenly over the picture, so that a part of it may lie outside.

    Args:
        x: ``(B, channels, height, width)``.
        side: In pixels.
        value: What the square is filled with.
        generator: Of the CPU.
    """
    n, _, height, width = x.shape
    top, left = (torch.rand((2, n), generator=generator) * torch.tensor([[height], [width]]) - side / 2).clamp(min=0).floor().to(x.device)

    def within(first: Tensor, length: int) -> Tensor:
        place = torch.arange(length, device=x.device) - first[:, None]
        return (place >= 0) & (place < side)

    return x.masked_fill((within(top, height)[:, :, None] & within(left, width)[:, None, :])[:, None], value)


def auto_contrast(x: Tensor) -> Tensor:
    """Stretch each channel of each picture to [0, 1]; a channel of one value stays."""
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)

    return torch.where(high > low, (x - low) / torch.where(high > low, high - low, 1.0), x)


def rotate(x: Tensor, degrees: Tensor) -> Tensor:
    """Turn each picture about its middle by ``(B,)`` degrees, counterclockwise; what comes in is black."""
    height, width = x.shape[-2:]
    angle = torch.deg2rad(degrees)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    right, down = width / 2, height / 2

    return _looked_up(x, cosine, -sine, right - cosine * right + sine * down, sine, cosine, down - sine * right - cosine * down)


def shear(x: Tensor, amount: Tensor, axis: int) -> Tensor:
    """Let the columns (``axis`` 0: the rows) of each picture slide by ``(B,)`` pixels for each pixel from the upper left corner; what comes in is black."""
    one, zero = torch.ones_like(amount), torch.zeros_like(amount)

    return _looked_up(x, one, amount, zero, zero, one, zero) if axis == 1 else _looked_up(x, one, zero, zero, amount, one, zero)


def translate(x: Tensor, share: Tensor, axis: int) -> Tensor:
    """Move each picture by ``(B,)`` shares of its width (``axis`` 0: height), in whole pixels, the fraction cut off; what comes in is black."""
    one, zero = torch.ones_like(share), torch.zeros_like(share)
    pixels = torch.trunc(share * x.shape[-1 if axis == 1 else -2])

    return _looked_up(x, one, zero, pixels, zero, one, zero) if axis == 1 else _looked_up(x, one, zero, zero, zero, one, pixels)


def _looked_up(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor) -> Tensor:
    """
    Give the pixel at (column, row) the value of the one at (a column + b row + c, d column + e row + f), coordinates of pixel middles; else black.

    As in Pillow's AFFINE, coordinates are whole multiples of 2**-16, which decides what lies on the border of two pixels.
    """
    n, channels, height, width = x.shape
    row, column = torch.arange(height, device=x.device)[:, None], torch.arange(width, device=x.device)

    def fixed(values: Tensor) -> Tensor:
        return torch.floor(values.double() * 2**16 + 0.5).long()[:, None, None]

    def place(across: Tensor, along: Tensor, first: Tensor) -> Tensor:
        return (fixed(first + across / 2 + along / 2) + fixed(across) * column + fixed(along) * row) >> 16

    columns, rows = place(a, b, c), place(d, e, f)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    position = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    found = x.flatten(2).gather(2, position.view(n, 1, -1).expand(-1, channels, -1)).view_as(x)

    return found * inside[:, None]


def _blend_factor(level: Tensor) -> Tensor:
    """Return the factor of Pillow's enhancements, 0.05 to 0.95; 1 would leave the picture as it is."""
    return 0.05 + 0.9 * level.abs()


def _colour(x: Tensor, level: Tensor) -> Tensor:
    return adjust_saturation_with_gray_subtraction(x, _blend_factor(level)) if x.shape[1] == 3 else x


def _posterize(x: Tensor, level: Tensor) -> Tensor:
    return posterize(x, 4 + torch.floor(4 * level.abs() + 1e-6).int())


def _solarize(x: Tensor, level: Tensor) -> Tensor:
    return solarize(x, (256 - torch.floor(256 * level.abs() + 1e-6)) / 255)


OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "auto_contrast": lambda x, level: auto_contrast(x),
    "brightness": lambda x, level: adjust_brightness_accumulative(x, _blend_factor(level)),
    "colour": _colour,
    "contrast": lambda x, level: adjust_contrast_with_mean_subtraction(x, _blend_factor(level)),
    "equalize": lambda x, level: equalize(x),
    "identity": lambda x, level: x,
    "posterize": _posterize,
    "rotate": lambda x, level: rotate(x, 30 * level),
    "sharpness": lambda x, level: sharpness(x, _blend_factor(level)),
    "shear_x": lambda x, level: shear(x, 0.3 * level, axis=1),
    "shear_y": lambda x, level: shear(x, 0.3 * level, axis=0),
    "solarize": _solarize,
    "translate_x": lambda x, level: translate(x, 0.3 * level, axis=1),
    "translate_y": lambda x, level: translate(x, 0.3 * level, axis=0),
}
"""Each changes pictures ``(B, c, h, w)`` in [0, 1] by levels ``(B,)``, float64, of size 0.1 to 0.9; the sign is the direction, where there is one."""
