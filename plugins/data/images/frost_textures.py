"""The photographs of frost that the corruption ``frost`` lays over pictures, and their reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FROST_TEXTURES", "decode_textures", "read_textures"]

FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg")

FROST_TEXTURES = RawData(
    name="frost_textures",
    summary="Six photographs of frost, up to 900x600 (the second and the third show the same), as published with ImageNet-C",
    content="58339e60bd98c550765c67b658d40738f75551e32f25170eaaa9032494038a0d",
    licence="Apache-2.0",
    citation="D. Hendrycks and T. Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019, arXiv:1903.12261",
    size_bytes=2_080_003,
    sources=(
        Source("file", "frost_textures", f"{__name__}:read_textures"),
        Source(
            "pypi",
            "imagecorruptions",
            f"{__name__}:read_textures",
            version="1.1.2",
            sha256="d0e4bf529ba6fbb27d8aba1bde7c5db43bf2b969b2c767c11419e939e3e365b8",
            size_bytes=2_094_054,
            members=("*/frost/frost*",),
        ),
    ),
)


def read_textures(folder: Path) -> dict[str, Path]:
    """
    Find the six files, in ``folder`` or where the wheel has them.

    They are kept as files because decoders of JPEG may differ in the last bit, which would change the content.

    Raises:
        FileNotFoundError: One of the six is missing.
    """
    packaged = folder / "imagecorruptions" / "frost"
    place = packaged if packaged.is_dir() else folder

    return {name: place / name for name in FILES}


def decode_textures(folder: Path) -> list[np.ndarray]:
    """
    Decode the photographs that :func:`harness.data.load_folder` names.

    Returns:
        Six arrays ``(height, width, 3)`` uint8, red green blue, in the order of their numbers.
    """
    import numpy as np
    from PIL import Image

    pictures = []
    for name in FILES:
        with Image.open(folder / name) as image:
            pictures.append(np.asarray(image.convert("RGB")))

    return pictures
