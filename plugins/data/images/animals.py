"""Animal silhouettes in the format of MNIST, and its reader."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ANIMALS", "CLASSES", "read_animals"]

CLASSES = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")

ANIMALS = RawData(
    name="animals",
    summary="10,000 silhouettes of animals, 28x28 grey, 10 classes of 1,000; 9,716 differ",
    content="135a10301479ed6e369c560be364de7f6bfc2437a64ddfea9415ee4fd9300312",
    licence="MIT",
    citation="S. Mohammadi, Animal Shape, as packaged by animal-mnist 0.4",
    size_bytes=7_850_000,
    sources=(
        Source("file", "animals", f"{__name__}:read_animals"),
        Source(
            "pypi",
            "animal-mnist",
            f"{__name__}:read_animals",
            version="0.4",
            sha256="aeebf3d9de4552d6fd2d5701424e1a5b9020f8e5115d68df9db252f2f53ce2ce",
            size_bytes=2_626_186,
            members=("*_version_3.gz",),
        ),
    ),
)


def read_animals(folder: Path) -> dict[str, np.ndarray]:
    """
    Read ``animal_data_version_3.gz`` and ``animal_label_version_3.gz``, a compressed pickle of one array each, in ``folder`` or where the wheel has them.

    Returns:
        ``x`` ``(10000, 28, 28)`` uint8 in 0..255 and ``y`` ``(10000,)`` uint8 in 0..9, sorted by class as published.

    Raises:
        FileNotFoundError: One of the two is missing.
    """
    import numpy as np

    from harness.unpickle import load_pickle

    packaged = folder / "animal_mnist" / "data" / "Animal_MNIST"
    place = packaged if packaged.is_dir() else folder
    pictures, labels = (load_pickle(gzip.decompress((place / f"animal_{kind}_version_3.gz").read_bytes())) for kind in ("data", "label"))

    return {"x": pictures, "y": labels.astype(np.uint8)}
