"""
Weak and strong views: two random copies of a sample that keep its class, one changed a little and one changed much.

Every draw is made sample by sample, from a generator of the CPU, and whole batches are changed at once on whatever device they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from harness.training.augmentation import CROP_SHARE, flip, shift
from plugins.tasks.semi_supervised.rand_augment import GREY, cut_out, rand_augment

__all__ = ["Deformation", "DigitViews", "FeatureViews", "PictureViews", "Views", "crop_reflected", "deform", "drop_features"]


class Views(Protocol):
    """What a data set says about the changes that its classes survive."""

    def weak(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return a slightly changed copy of a batch ``(B, ...)``."""

    def strong(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return a copy that is changed as much as the classes allow."""


@dataclass(frozen=True)
class Deformation:
    """
    How far a picture may be changed; every amount is drawn evenly, for each picture on its own.

    Args:
        rotation: In degrees, both ways.
        scale: Share by which it grows or shrinks.
        shear: Pixels to the side for each pixel down, both ways.
        shift: In pixels, along both axes and both ways.
        contrast: Values are multiplied by a factor within this of 1.
        brightness: What is added to all values, both ways.
        noise: Largest standard deviation of the Gaussian noise, itself drawn for each picture.
        hole: Side of the square that is blackened, in pixels.
    """

    rotation: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    noise: float = 0.0
    hole: int = 0


WEAK = Deformation(rotation=5, scale=0.05, shift=0.7)
STRONG = Deformation(rotation=25, scale=0.15, shear=0.25, shift=1.2, contrast=0.5, brightness=0.2, noise=0.2, hole=3)


@dataclass(frozen=True)
class DigitViews:
    """
    Views of grey pictures on black ground, of digits above all: they are turned, scaled, moved and, in the strong view, sheared and disturbed, never mirrored.

    The limits are those that our card of the semi-supervised baselines measured on 8x8 digits.
    """

    def weak(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Turn, scale and move a little."""
        return deform(x, WEAK, generator)

    def strong(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Turn, scale, shear and move, change the values, add noise, blacken a square."""
        return deform(x, STRONG, generator)


@dataclass(frozen=True)
class PictureViews:
    """
    Views of photographs, and of other pictures that may be mirrored (Sohn et al. 2020, arXiv:2001.07685): flip and crop; then RandAugment and a grey square.

    The hole of the strong view has half of the picture's side.
    """

    def weak(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Mirror half of the pictures and move all by up to an eighth of their side, reflected at the border."""
        return crop_reflected(flip(x, generator), generator)

    def strong(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Do the same, two operations of RandAugment, and cut out a square."""
        return cut_out(rand_augment(self.weak(x, generator), generator), x.shape[-1] // 2, GREY, generator)


@dataclass(frozen=True)
class FeatureViews:
    """
    Views of rows of features, such as the TF-IDF of texts or what a pretrained network sees: some are missing, more of them in the strong view.

    A row keeps its length: one of TF-IDF is what the vectoriser would have made of the text without these words.
    """

    weak_rate: float = 0.1
    strong_rate: float = 0.5

    def weak(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Leave out few features."""
        return drop_features(x, self.weak_rate, generator)

    def strong(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Leave out many."""
        return drop_features(x, self.strong_rate, generator)


def deform(x: Tensor, limits: Deformation, generator: torch.Generator) -> Tensor:
    """
    Deform each picture by amounts of its own, about its middle and in pixels, so that oblong pictures are turned and not skewed.

    What comes in from outside is black; values between pixels are interpolated linearly. Contrast, brightness and noise leave values in [0, 1].

    Args:
        x: ``(B, channels, height, width)`` in [0, 1].
        limits: How far.
        generator: Of the CPU.
    """
    n, _, height, width = x.shape
    angle, size, slant, right, down, contrast, brightness, noise = (2 * torch.rand((n, 8), generator=generator) - 1).to(x.device).T
    angle = torch.deg2rad(limits.rotation * angle)
    size = 1 + limits.scale * size
    slant = limits.shear * slant
    # Where a pixel of the new picture comes from: turned, sheared along the rows, scaled, moved. The grid counts from -1 to 1 along each axis.
    cosine, sine = torch.cos(angle) / size, torch.sin(angle) / size
    rows = torch.stack((cosine, (slant * cosine - sine) * (height / width), 2 * limits.shift * right / width), dim=1)
    columns = torch.stack((sine * (width / height), slant * sine + cosine, 2 * limits.shift * down / height), dim=1)
    grid = affine_grid(torch.stack((rows, columns), dim=1), list(x.shape), align_corners=False)
    x = grid_sample(x, grid.to(x.dtype), padding_mode="zeros", align_corners=False)

    if limits.contrast or limits.brightness or limits.noise:
        spread = torch.randn(x.shape, generator=generator).to(x.device)
        x = x * _each(1 + limits.contrast * contrast) + _each(limits.brightness * brightness) + spread * _each(limits.noise * noise.abs())
        x = x.clamp(0, 1)

    return cut_out(x, limits.hole, 0.0, generator) if limits.hole else x


def crop_reflected(x: Tensor, generator: torch.Generator) -> Tensor:
    """Move each picture ``(B, channels, height, width)`` by up to an eighth of its width along both axes; the border is reflected."""
    return shift(x, max(1, round(CROP_SHARE * x.shape[-1])), generator, mode="reflect")


def drop_features(x: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """
    Set each feature to 0 with probability ``rate`` and scale the row back to its Euclidean length; a row of which nothing is left stays 0.

    Args:
        x: ``(B, features)``.
        rate: In [0, 1).
        generator: Of the CPU.
    """
    kept = x * (torch.rand(x.shape, generator=generator) >= rate).to(x.device)
    length = kept.norm(dim=1, keepdim=True)
    scaled: Tensor = kept * (x.norm(dim=1, keepdim=True) / torch.where(length > 0, length, 1.0))

    return scaled


def _each(amounts: Tensor) -> Tensor:
    """Shape ``(B,)`` for pictures."""
    return amounts[:, None, None, None]
