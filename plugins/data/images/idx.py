"""
The layout of MNIST: four idx files of pictures and labels.

Pictures are uint8 ``(N, height, width)`` and labels uint8 ``(N,)``, in the order of the source.
"""

from __future__ import annotations

import errno
import gzip
from pathlib import Path

import numpy as np

__all__ = ["read_idx"]


def read_idx(folder: Path) -> dict[str, np.ndarray]:
    """
    Read a set in the layout of MNIST: four idx files anywhere below ``folder``, compressed or not.

    Returns:
        ``train_x``, ``test_x`` ``(N, height, width)`` in 0..255 and ``train_y``, ``test_y`` ``(N,)``.

    Raises:
        FileNotFoundError: One of the four is missing.
    """
    return {
        f"{part}_{kind}": _read_idx_file(folder, f"{stem}-{suffix}-ubyte")
        for part, stem in (("train", "train"), ("test", "t10k"))
        for kind, suffix in (("x", "images-idx3"), ("y", "labels-idx1"))
    }


def _read_idx_file(folder: Path, name: str) -> np.ndarray:
    """Read one idx file: two zero bytes, a type, the number of dimensions, their sizes (big-endian), and the values."""
    path = next(iter(sorted(folder.rglob(f"{name}*"))), None)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "no such file", str(folder / f"{name}.gz"))
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", count=dimensions, offset=4)

    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
