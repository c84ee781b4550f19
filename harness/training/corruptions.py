"""
The corruptions of CIFAR-10-C: 15, and 4 to choose settings on, in 5 severities, for pictures of 32x32 pixels.

The laws and constants are those that made the published set (Hendrycks & Dietterich 2019, arXiv:1903.12261; ``make_cifar_c.py`` of their repository
``hendrycks/robustness``), its peculiarities included:

- values are cut, not rounded, to whole numbers;
- severities are not ordered everywhere: glass blur, elastic transform, frost, spatter and saturate of a higher one may change a picture less;
- the pixels of glass blur are copied from a neighbour above or to the left, not exchanged with it, because the exchange was written on views of one array;
- frost picks among the first five photographs, of which two show the same.

Our bytes differ from those of the published archive all the same, because the random draws are others, and because scipy and Pillow stand here for OpenCV,
ImageMagick and scikit-image: sums of another order fall on either side of a whole number, and the distances behind the drops of spatter are exact here, where
OpenCV's are those of a 5x5 chamfer mask. Bytes of JPEG depend on the libjpeg that Pillow was built with.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage

__all__ = ["EXTRA", "NAMES", "SEVERITIES", "corrupt_images"]

SIDE = 32  # the constants are for this size: blurs and shifts are in pixels
CHUNK = 500  # pictures at a time, so that memory does not grow with their number; part of the law, since draws are made chunk by chunk
SEVERITIES = (1, 2, 3, 4, 5)

FROST_STEP = (
    5  # OpenCV shrinks the photographs to a fifth by picking the middle pixel of each 5x5 block: its bilinear weights are 0 elsewhere
)
N_FROST = 5

GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
WATER = np.array([175, 238, 238], dtype=np.float32) / 255
MUD = np.array([63, 42, 20], dtype=np.float32) / 255

Corruption = Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]  # Any: a constant, or a tuple of them


def corrupt_images(
    images: np.ndarray, name: str, severity: int, rng: np.random.Generator, frost: Sequence[np.ndarray] | None = None
) -> np.ndarray:
    """
    Corrupt each picture by itself; the draws of one differ from those of the next.

    The same generator gives the same bytes on the same installation. What happens to a picture depends on its position, and beyond groups of 500 not on how
    many follow.

    Args:
        images: ``(N, 32, 32, 3)`` uint8, red green blue; not changed.
        name: One of ``NAMES`` or ``EXTRA``, which are the names of the files of CIFAR-10-C.
        severity: 1 to 5.
        rng: Decides every draw.
        frost: For ``frost``: five photographs at least, ``(height, width, 3)`` uint8, of which a fifth of each side must exceed 32 pixels. The published
            ones are the raw data ``frost_textures`` of the bundled plugins.

    Returns:
        ``(N, 32, 32, 3)`` uint8.

    Raises:
        ValueError: The pictures have another shape or type, there is no such corruption or severity, or ``frost`` lacks its photographs.
    """
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
        raise ValueError(f"images are {images.dtype} {images.shape}, they must be uint8 (N, 32, 32, 3)")
    if name not in CONSTANTS:
        raise ValueError(f"there is no corruption '{name}'; there are {', '.join((*NAMES, *EXTRA))}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity is {severity}, it must be 1, 2, 3, 4 or 5")

    function = partial(_frost, photographs=_shrunk(() if frost is None else frost)) if name == "frost" else FUNCTIONS[name]
    corrupted = np.empty_like(images)
    for start in range(0, len(images), CHUNK):
        corrupted[start : start + CHUNK] = function(images[start : start + CHUNK], CONSTANTS[name][severity - 1], rng)

    return corrupted


# Each function below takes (N, 32, 32, 3) uint8 and the constants of a severity, and returns values in 0..255 that are cut to whole numbers afterwards.


# Noise


def _gaussian_noise(images: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    return _bytes(images / 255 + rng.normal(scale=scale, size=images.shape))


def _shot_noise(images: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Count photons: the fewer a full pixel stands for, the coarser."""
    return _bytes(rng.poisson(images / 255 * photons) / photons)


def _impulse_noise(images: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Replace single channels of pixels by 0 or 255, as likely one as the other."""
    struck = rng.random(images.shape) < amount

    return np.where(struck, np.where(rng.random(images.shape) < 0.5, 255, 0), images)


def _speckle_noise(images: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    x = images / 255

    return _bytes(x + x * rng.normal(scale=scale, size=x.shape))


# Blur


def _gaussian_blur(images: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return _bytes(_blurred(images / 255, sigma))


def _defocus_blur(images: np.ndarray, constants: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    kernel = _disk(*constants)

    return _bytes(ndimage.correlate(images / 255, kernel[None, :, :, None], mode="mirror"))


def _glass_blur(images: np.ndarray, constants: tuple[float, int, int], rng: np.random.Generator) -> np.ndarray:
    """
    Blur, take each pixel but those of the border from a neighbour, blur.

    The published loop goes from the bottom right to the top left and copies from above and from the left, so it reads pixels that it has not written yet: one
    pass is one gather.
    """
    sigma, reach, passes = constants
    x = np.floor(_blurred(images / 255, sigma) * 255)
    picture = np.arange(len(x))[:, None, None]
    inner = np.arange(SIDE - reach, reach, -1)
    for _ in range(passes):
        shifts = rng.integers(-reach, reach, size=(len(x), len(inner), len(inner), 2))
        x[picture, inner[:, None], inner] = x[picture, inner[:, None] + shifts[..., 1], inner + shifts[..., 0]]

    return _bytes(_blurred(x / 255, sigma))


def _motion_blur(images: np.ndarray, constants: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    return _dragged(images, *constants, rng.uniform(-45, 45, size=len(images)))


def _zoom_blur(images: np.ndarray, most: float, rng: np.random.Generator) -> np.ndarray:
    """Average the picture with itself at zoom factors from 1 to ``most`` in steps of 0.01, where it counts twice."""
    factors = np.arange(1, most, 0.01)
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)) / np.float32(255)
    total = planes.copy()
    for factor in factors:
        total += _zoomed(planes, factor)

    return _bytes(total.transpose(0, 2, 3, 1) / (len(factors) + 1))


# Weather


def _snow(images: np.ndarray, constants: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """Whiten the picture and let flakes fall over it: a zoomed layer of noise above a threshold, dragged downwards, twice."""
    mean, scale, zoom, threshold, radius, sigma, clear = constants
    x = images.astype(np.float32) / 255
    flakes = _zoomed(rng.normal(mean, scale, size=images.shape[:3]), zoom)
    flakes[flakes < threshold] = 0
    flakes = np.floor(np.clip(flakes, 0, 1) * 255)
    flakes = _dragged(flakes[..., None], radius, sigma, rng.uniform(-135, -45, size=len(images))) / 255
    x = clear * x + (1 - clear) * np.maximum(x, (x @ GREY)[..., None] * 1.5 + 0.5)

    return _bytes(x + flakes + flakes[:, ::-1, ::-1])


def _frost(images: np.ndarray, constants: tuple[float, float], rng: np.random.Generator, photographs: list[np.ndarray]) -> np.ndarray:
    """Add a random piece of a random photograph."""
    share, strength = constants
    pieces = np.empty(images.shape, dtype=np.float64)
    for i in range(len(images)):
        photograph = photographs[rng.integers(N_FROST)]
        row, column = rng.integers(0, photograph.shape[0] - SIDE), rng.integers(0, photograph.shape[1] - SIDE)
        pieces[i] = photograph[row : row + SIDE, column : column + SIDE]

    return np.clip(share * images + strength * pieces, 0, 255)


def _fog(images: np.ndarray, constants: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    density, decay = constants
    x = images / 255
    brightest = x.max(axis=(1, 2, 3), keepdims=True)

    return _bytes((x + density * _clouds(len(x), decay, rng)[..., None]) * brightest / (brightest + density))


def _brightness(images: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Raise the value of HSV: hue and saturation stay where all channels are scaled by one factor; black becomes grey."""
    x = images / 255
    value = x.max(axis=-1, keepdims=True)
    raised = np.clip(value + shift, 0, 1)

    return _bytes(np.where(value > 0, x * (raised / np.where(value > 0, value, 1)), raised))


# Digital


def _contrast(images: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    x = images / 255
    means = x.mean(axis=(1, 2), keepdims=True)

    return _bytes((x - means) * factor + means)


def _elastic_transform(images: np.ndarray, constants: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """Warp by a random affine map, then by a smooth random field of shifts; constants are in sides of the picture."""
    strength, sigma, jitter = (SIDE * constant for constant in constants)
    x = images.astype(np.float32) / 255
    n = len(x)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)

    # Three corners of a square (column, row) and where they go; the map back says where each pixel comes from.
    middle, half = SIDE // 2, SIDE // 3
    corners = np.array([[middle + half, middle + half], [middle + half, middle - half], [middle - half, middle - half]], dtype=np.float64)
    moved = corners + rng.uniform(-jitter, jitter, size=(n, 3, 2))
    back = np.linalg.solve(np.concatenate([moved, np.ones((n, 3, 1))], axis=2), np.broadcast_to(corners, (n, 3, 2)))
    places = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ back[:, None]
    x = _sampled(x, places[..., 1], places[..., 0], "mirror")

    shifts = rng.uniform(-1, 1, size=(2, n, SIDE, SIDE))
    if strength > 0:
        shifts = strength * ndimage.gaussian_filter(shifts, (0, 0, sigma, sigma), mode="reflect", truncate=3)
        x = _sampled(x, rows + shifts[1], columns + shifts[0], "reflect")

    return _bytes(x)


def _pixelate(images: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    from PIL import Image

    small = int(SIDE * scale)
    boxed = [
        np.asarray(Image.fromarray(image).resize((small, small), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.BOX))
        for image in images
    ]

    return np.stack(boxed)


def _jpeg_compression(images: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
    from PIL import Image

    corrupted = np.empty_like(images)
    for i, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        corrupted[i] = np.asarray(Image.open(file))

    return corrupted


# Extra


def _spatter(images: np.ndarray, constants: tuple[float, float, float, float, float, bool], rng: np.random.Generator) -> np.ndarray:
    """Let drops of water, or splashes of mud, hit the lens."""
    mean, scale, sigma, threshold, strength, mud = constants
    x = images.astype(np.float32) / 255
    liquid = ndimage.gaussian_filter(rng.normal(mean, scale, size=images.shape[:3]), (0, sigma, sigma), mode="nearest")
    liquid[liquid < threshold] = 0
    if mud:
        cover = ndimage.gaussian_filter((liquid > threshold).astype(np.float32), (0, strength, strength), mode="nearest")
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return _bytes(x * (1 - cover) + MUD * cover)

    drops = np.floor(liquid * 255).astype(np.uint8)
    depth = np.minimum(_distances(_edges(drops, 50, 150)), 20)
    depth = np.floor(ndimage.uniform_filter(depth, (0, 3, 3), mode="mirror") + 1e-9).astype(np.uint8)
    relief = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])  # light from the bottom right
    shine = np.clip(ndimage.correlate(_equalised(depth).astype(np.int64), relief[None], mode="mirror"), 0, 255).astype(np.float64)
    shine = drops * np.rint(ndimage.uniform_filter(shine, (0, 3, 3), mode="mirror"))
    most = shine.max(axis=(1, 2), keepdims=True)
    shine = strength * shine / np.where(most > 0, most, 1)

    return _bytes(x + shine[..., None] * WATER)


def _saturate(images: np.ndarray, constants: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Scale and shift the saturation of HSV; grey has hue 0 there, so a shift makes it red."""
    factor, shift = constants
    x = images / 255
    value = x.max(axis=-1, keepdims=True)
    least = x.min(axis=-1, keepdims=True)
    saturation = (value - least) / np.where(value > 0, value, 1)
    changed = np.clip(saturation * factor + shift, 0, 1)
    red_alone = np.array([0.0, 1.0, 1.0])
    missing = np.where(saturation > 0, (value - x) / np.where(saturation > 0, saturation, 1), value * red_alone)

    return _bytes(value - missing * changed)


FUNCTIONS: dict[str, Corruption] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "glass_blur": _glass_blur,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "snow": _snow,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "elastic_transform": _elastic_transform,
    "pixelate": _pixelate,
    "jpeg_compression": _jpeg_compression,
    "speckle_noise": _speckle_noise,
    "gaussian_blur": _gaussian_blur,
    "spatter": _spatter,
    "saturate": _saturate,
}

CONSTANTS: dict[str, tuple[Any, Any, Any, Any, Any]] = {  # Any: as for Corruption
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "shot_noise": (500, 250, 100, 75, 50),
    "impulse_noise": (0.01, 0.02, 0.03, 0.05, 0.07),
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom_blur": (1.06, 1.11, 1.16, 1.21, 1.26),
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),
    "jpeg_compression": (80, 65, 58, 50, 40),
    "speckle_noise": (0.06, 0.1, 0.12, 0.16, 0.2),
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
    "spatter": (
        (0.62, 0.1, 0.7, 0.7, 0.5, False),
        (0.65, 0.1, 0.8, 0.7, 0.5, False),
        (0.65, 0.3, 1, 0.69, 0.5, False),
        (0.65, 0.1, 0.7, 0.69, 0.6, True),
        (0.65, 0.1, 0.5, 0.68, 0.6, True),
    ),
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
}

EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
NAMES = tuple(name for name in CONSTANTS if name not in EXTRA)


def _bytes(x: np.ndarray) -> np.ndarray:
    """Bring values around [0, 1] into 0..255."""
    clipped: np.ndarray = np.clip(x, 0, 1) * 255

    return clipped


def _blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    """Blur ``(N, 32, 32, 3)`` by a Gaussian that ends at 4 sigma; the border is repeated."""
    blurred: np.ndarray = ndimage.gaussian_filter(x, (0, sigma, sigma, 0), mode="nearest")

    return blurred


def _disk(radius: float, smooth: float) -> np.ndarray:
    """Return the 5x5 kernel of a lens out of focus: the pixels within ``radius`` (below 2), smoothed by a Gaussian of 3x3 pixels."""
    reach = np.arange(-2, 3)
    disk = (reach[:, None] ** 2 + reach**2 <= radius**2).astype(np.float64)
    weights = np.exp(-np.array([1, 0, 1]) / (2 * smooth**2))
    weights /= weights.sum()
    kernel: np.ndarray = ndimage.correlate(disk / disk.sum(), np.outer(weights, weights), mode="constant")

    return kernel


def _dragged(images: np.ndarray, radius: float, sigma: float, angles: np.ndarray) -> np.ndarray:
    """
    Blur motion as ImageMagick does: half a Gaussian of ``2 ceil(radius) + 1`` whole pixels along a line, the border repeated.

    Args:
        images: ``(N, 32, 32, C)``, values in 0..255.
        radius: In pixels.
        sigma: In pixels.
        angles: ``(N,)``, degrees from the right, clockwise.

    Returns:
        ``(N, 32, 32, C)`` float64, whole numbers.
    """
    steps = np.arange(2 * int(np.ceil(radius)) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    directions = np.stack([np.sin(np.radians(angles)), np.cos(np.radians(angles))])  # rows, columns
    offsets = np.ceil(steps[:, None] * directions[:, None] - 0.5).astype(np.int64)  # (2, steps, N)

    dragged = np.zeros(images.shape)
    picture = np.arange(len(images))[:, None, None]
    for weight, down, right in zip(weights, *offsets, strict=True):
        rows = np.clip(np.arange(SIDE) + down[:, None], 0, SIDE - 1)
        columns = np.clip(np.arange(SIDE) + right[:, None], 0, SIDE - 1)
        dragged += weight * images[picture, rows[:, :, None], columns[:, None, :]]

    return np.rint(dragged)


def _zoomed(planes: np.ndarray, factor: float) -> np.ndarray:
    """
    Enlarge the middle of ``(..., 32, 32)`` by linear interpolation and cut it to 32x32.

    Linear zoom is a matrix for the rows and the same for the columns; two products take a hundredth of the time of scipy's zoom in four dimensions.
    """
    kept = int(np.ceil(SIDE / factor))
    first = (SIDE - kept) // 2
    matrix = ndimage.zoom(np.eye(kept), (factor, 1), order=1)
    trim = (len(matrix) - SIDE) // 2
    matrix = matrix[trim : trim + SIDE].astype(planes.dtype)
    zoomed: np.ndarray = matrix @ planes[..., first : first + kept, first : first + kept] @ matrix.T

    return zoomed


def _clouds(n: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """
    Draw fractal clouds on a torus by the diamond-square algorithm.

    Each step halves the mesh: the middle of a square, then of each edge, becomes the mean of its four neighbours and a uniform shift, whose amplitude (the
    square of 100 at first) falls by ``decay`` squared.

    Returns:
        ``(n, 32, 32)`` in [0, 1], both reached in each.
    """
    clouds = np.zeros((n, SIDE, SIDE))
    amplitude = 100.0
    mesh = SIDE
    while mesh >= 2:
        half = mesh // 2

        def shift(total: np.ndarray, amplitude: float = amplitude) -> np.ndarray:
            return total / 4 + amplitude * rng.uniform(-amplitude, amplitude, size=total.shape)

        corners = clouds[:, ::mesh, ::mesh]
        pairs = corners + np.roll(corners, -1, axis=1)
        middles = shift(pairs + np.roll(pairs, -1, axis=2))
        clouds[:, half::mesh, half::mesh] = middles
        clouds[:, ::mesh, half::mesh] = shift(middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=2))
        clouds[:, half::mesh, ::mesh] = shift(middles + np.roll(middles, 1, axis=2) + corners + np.roll(corners, -1, axis=1))
        mesh = half
        amplitude /= decay
    clouds -= clouds.min(axis=(1, 2), keepdims=True)
    clouds /= clouds.max(axis=(1, 2), keepdims=True)

    return clouds


def _sampled(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, border: str) -> np.ndarray:
    """
    Look pictures up between their pixels by bilinear interpolation.

    Args:
        x: ``(N, 32, 32, C)``.
        rows: ``(N, 32, 32)``, where each new pixel comes from.
        columns: Likewise.
        border: ``mirror`` reflects at the middle of the last pixel, ``reflect`` at its edge.
    """
    picture = np.arange(len(x))[:, None, None]
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    down, right = ((place - first)[..., None].astype(x.dtype) for place, first in ((rows, top), (columns, left)))

    def corner(below: int, beside: int) -> np.ndarray:
        found: np.ndarray = x[picture, _folded(top + below, border), _folded(left + beside, border)]

        return found

    upper = (1 - right) * corner(0, 0) + right * corner(0, 1)
    lower = (1 - right) * corner(1, 0) + right * corner(1, 1)
    sampled: np.ndarray = (1 - down) * upper + down * lower

    return sampled


def _folded(index: np.ndarray, border: str) -> np.ndarray:
    """Fold whole numbers into 0..31 by reflection."""
    period = 2 * SIDE - 2 if border == "mirror" else 2 * SIDE
    place = index % period
    folded: np.ndarray = np.minimum(place, (period if border == "mirror" else period - 1) - place)

    return folded


def _edges(images: np.ndarray, low: int, high: int) -> np.ndarray:
    """
    Find edges after Canny as OpenCV does with its defaults: Sobel gradients of 3x3 pixels, the sum of their magnitudes, hysteresis over eight neighbours.

    Args:
        images: ``(N, 32, 32)`` uint8.
        low: A thin edge is followed where its gradient is above this,
        high: and begins where it is above this.

    Returns:
        ``(N, 32, 32)`` bool.
    """
    x = images.astype(np.int64)
    slope = np.outer([1, 2, 1], [-1, 0, 1])[None]
    across = ndimage.correlate(x, slope, mode="nearest")
    along = ndimage.correlate(x, slope.swapaxes(1, 2), mode="nearest")
    strength = np.abs(across) + np.abs(along)
    around = np.pad(strength, ((0, 0), (1, 1), (1, 1)))

    def neighbour(down: int, right: int) -> np.ndarray:
        return around[:, 1 + down : 1 + down + SIDE, 1 + right : 1 + right + SIDE]

    tangent = np.tan(np.radians(22.5))
    flat = np.abs(along) < tangent * np.abs(across)
    steep = np.abs(along) > (tangent + 2) * np.abs(across)
    falling = (across < 0) != (along < 0)
    highest = np.select(
        [flat, steep, falling],
        [
            (strength > neighbour(0, -1)) & (strength >= neighbour(0, 1)),
            (strength > neighbour(-1, 0)) & (strength >= neighbour(1, 0)),
            (strength > neighbour(-1, 1)) & (strength > neighbour(1, -1)),
        ],
        (strength > neighbour(-1, -1)) & (strength > neighbour(1, 1)),
    )
    thin = highest & (strength > low)
    same_picture = np.zeros((3, 3, 3), dtype=bool)
    same_picture[1] = True
    pieces, _ = ndimage.label(thin, structure=same_picture)
    found: np.ndarray = thin & np.isin(pieces, np.unique(pieces[thin & (strength > high)]))

    return found


def _distances(edges: np.ndarray) -> np.ndarray:
    """Return how far each pixel of ``(N, 32, 32)`` is from an edge of its picture, in pixels; infinite where there is none."""
    distances = np.full(edges.shape, np.inf)
    for i in np.flatnonzero(edges.any(axis=(1, 2))):
        distances[i] = ndimage.distance_transform_edt(~edges[i])

    return distances


def _equalised(images: np.ndarray) -> np.ndarray:
    """Equalise the histogram of each picture of ``(N, 32, 32)`` uint8; the darkest value goes to 0, and a picture of one value stays."""
    n = len(images)
    offset = 256 * np.arange(n)[:, None, None]
    counts = np.bincount((images + offset).ravel(), minlength=256 * n).reshape(n, 256)
    darkest = np.take_along_axis(counts, (counts > 0).argmax(axis=1)[:, None], axis=1)
    others = SIDE * SIDE - darkest
    table = np.rint(np.maximum(counts.cumsum(axis=1) - darkest, 0) * (255 / np.maximum(others, 1)))
    equalised: np.ndarray = np.where(others[:, :, None] > 0, table.ravel()[images + offset], images)

    return equalised


def _shrunk(photographs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """
    Shrink the photographs of frost to a fifth.

    Raises:
        ValueError: There are too few, or one is too small.
    """
    if len(photographs) < N_FROST:
        raise ValueError(
            f"the corruption 'frost' needs {N_FROST} photographs, {len(photographs)} are given; the published are the raw data 'frost_textures'"
        )
    shrunk = [photograph[FROST_STEP // 2 :: FROST_STEP, FROST_STEP // 2 :: FROST_STEP] for photograph in photographs[:N_FROST]]
    for photograph, small in zip(photographs, shrunk, strict=False):
        if min(small.shape[:2]) <= SIDE or small.shape[2:] != (3,):
            raise ValueError(
                f"a photograph of frost has shape {photograph.shape}, it must be (height, width, 3) with sides of {FROST_STEP * (SIDE + 1)} or more"
            )

    return shrunk
