"""Augmentations that keep a picture's size, on whole batches and on whatever device they are; every draw comes from a generator of the CPU."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["Augmentation", "augment", "flip", "shift"]

Augmentation = Literal["none", "shift", "flip_crop"]

CROP_SHARE = 0.125  # of the side, on each side: 4 pixels of CIFAR's 32


def augment(x: Tensor, name: Augmentation, *generators: torch.Generator) -> Tensor:
    """
    Return a randomly changed copy of a batch ``(B, channels, height, width)``.

    ``shift`` moves each picture by -1, 0 or 1 pixel along both axes; ``flip_crop`` mirrors half of them and moves them by up to an eighth of a side, as is
    usual for CIFAR. What comes in from outside is zero. ``none`` returns the batch itself.

    Args:
        x: The batch; with several generators, the batches of as many seeds one after the other, of equal size.
        name: Which.
        generators: Of the CPU; each decides the draws of its own batch, as it would alone.

    Raises:
        ValueError: The samples are no pictures.
    """
    if name == "none":
        return x
    if x.ndim != 4:
        raise ValueError(f"augmentation '{name}' needs pictures (B, channels, height, width), got samples of shape {tuple(x.shape[1:])}")
    if name == "shift":
        return shift(x, 1, *generators)

    return shift(flip(x, *generators), max(1, round(CROP_SHARE * x.shape[-1])), *generators)


def shift(x: Tensor, reach: int, *generators: torch.Generator, mode: str = "constant") -> Tensor:
    """
    Move each picture by a whole number of pixels in ``-reach .. reach`` along both axes.

    Args:
        x: ``(B, channels, height, width)``.
        reach: In pixels.
        generators: As in :func:`augment`.
        mode: What comes in from outside, as :func:`torch.nn.functional.pad` has it: ``constant`` (zero) or ``reflect``.
    """
    _, n_channels, height, width = x.shape
    share = len(x) // len(generators)
    offsets = torch.cat([torch.randint(2 * reach + 1, (2, share), generator=generator) for generator in generators], dim=1).to(x.device)
    padded = pad(x, (reach,) * 4, mode=mode)
    rows = offsets[0, :, None] + torch.arange(height, device=x.device)
    columns = offsets[1, :, None] + torch.arange(width, device=x.device)
    picture = torch.arange(len(x), device=x.device)[:, None, None, None]
    channel = torch.arange(n_channels, device=x.device)[None, :, None, None]

    return padded[picture, channel, rows[:, None, :, None], columns[:, None, None, :]]


def flip(x: Tensor, *generators: torch.Generator) -> Tensor:
    """Mirror each picture left to right with probability one half; ``generators`` as in :func:`augment`."""
    share = len(x) // len(generators)
    mirrored = torch.cat([torch.rand(share, generator=generator) < 0.5 for generator in generators]).to(x.device)

    return torch.where(mirrored[:, None, None, None], x.flip(-1), x)
