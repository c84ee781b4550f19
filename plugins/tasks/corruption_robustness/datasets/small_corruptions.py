"""
Corruptions of very small pictures, six laws whose 5th severity is strong enough for 8x8 pixels.

Those of CIFAR-10-C are for 32 pixels: enlarged, corrupted and averaged down again, a digit of 8 pixels hardly shows them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

__all__ = ["SMALL_NAMES", "corrupt_small_images"]

MIDDLE = 0.3  # grey value that contrast keeps

Corruption = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def corrupt_small_images(images: np.ndarray, name: str, severity: int, rng: np.random.Generator) -> np.ndarray:
    """
    Corrupt each picture by itself; the strength grows evenly with the severity.

    Args:
        images: ``(N, height, width)`` uint8; not changed.
        name: One of ``SMALL_NAMES``.
        severity: 1 to 5. The 5th is: noise of standard deviation 0.5, 30 % of the pixels black or white, the mean of 3x3 pixels, 15 % of the contrast around
            0.3, 0.6 brighter, the negative; of a white pixel that counts 1.
        rng: Decides every draw.

    Returns:
        ``(N, height, width)`` uint8.

    Raises:
        ValueError: There is no such corruption or severity.
    """
    if name not in FUNCTIONS:
        raise ValueError(f"there is no corruption '{name}' of small pictures; there are {', '.join(SMALL_NAMES)}")
    if severity not in range(1, 6):
        raise ValueError(f"severity is {severity}, it must be 1, 2, 3, 4 or 5")
    corrupted = FUNCTIONS[name](images / 255, severity / 5, rng)

    return np.rint(np.clip(corrupted, 0, 1) * 255).astype(np.uint8)


# Each function below takes pictures in [0, 1] and a strength in (0, 1].


def _gaussian_noise(x: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return x + rng.normal(scale=0.5 * strength, size=x.shape)


def _impulse_noise(x: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    struck = rng.random(x.shape) < 0.3 * strength

    return np.where(struck, rng.random(x.shape) < 0.5, x)


def _box_blur(x: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return x + strength * (ndimage.uniform_filter(x, (0, 3, 3), mode="constant") - x)


def _contrast(x: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return MIDDLE + (1 - 0.85 * strength) * (x - MIDDLE)


def _brightness(x: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return x + 0.6 * strength


def _inversion(x: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    return x + strength * (1 - 2 * x)


FUNCTIONS: dict[str, Corruption] = {
    "gaussian_noise": _gaussian_noise,
    "impulse_noise": _impulse_noise,
    "box_blur": _box_blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "inversion": _inversion,
}
SMALL_NAMES = tuple(FUNCTIONS)
