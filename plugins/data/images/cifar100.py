"""CIFAR-100: 60,000 colour pictures of 32x32 pixels, 100 classes. No package carries it, so its user puts the publisher's files into a folder."""

from __future__ import annotations

import hashlib
import pickle
from typing import TYPE_CHECKING, Any

from harness import DataError, Run
from harness.data import cache_home
from harness.unpickle import load_pickle

if TYPE_CHECKING:
    import numpy as np

__all__ = ["load_cifar100"]

WHERE = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz (unpacked: the files 'train' and 'test')"
SIZES = {"train": 50_000, "test": 10_000}


def load_cifar100(run: Run, digest: str = "") -> dict[str, np.ndarray]:
    """
    Read the publisher's "python version": the pickles ``train`` and ``test`` in the folder ``files/cifar100`` of the cache.

    Each holds under ``data`` the pictures as rows of 3 x 32 x 32 bytes, red plane first, and under ``fine_labels`` a list.

    Args:
        run: Its record gets the hash of both files.
        digest: SHA-256 over both, ``test`` first; any files are accepted where it is empty.

    Returns:
        ``train_x`` ``(50000, 32, 32, 3)`` and ``test_x`` ``(10000, 32, 32, 3)`` uint8, red green blue; ``train_y`` and ``test_y`` int64 in 0..99.

    Raises:
        DataError: A file is missing or damaged, or has another digest than is asked for.
    """
    import numpy as np

    folder = cache_home() / "files" / "cifar100"
    missing = [name for name in SIZES if not (folder / name).is_file()]
    if missing:
        raise DataError(f"CIFAR-100 is not in {folder}\n    missing: {', '.join(missing)}; get it from {WHERE}")
    contents = {name: (folder / name).read_bytes() for name in SIZES}
    found = hashlib.sha256(contents["test"] + contents["train"])
    if digest not in ("", found.hexdigest()):
        raise DataError(f"the files of CIFAR-100 in {folder} have the digest {found.hexdigest()}, the suite asks for {digest}")
    run.witness("files", list(found.digest()))
    arrays = {}
    for name, size in SIZES.items():
        pictures, labels = _decoded(contents[name], f"{folder / name}")
        if pictures.shape != (size, 3072) or labels.shape != (size,):
            raise DataError(
                f"{folder / name} holds {pictures.shape} bytes and {labels.shape} labels, expected {(size, 3072)} and {(size,)}"
            )
        arrays[f"{name}_x"] = np.ascontiguousarray(pictures.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        arrays[f"{name}_y"] = labels

    return arrays


def _decoded(content: bytes, path: str) -> tuple[Any, Any]:  # Any: arrays, whose module is imported where it is needed
    import numpy as np

    try:
        part = load_pickle(content, encoding="bytes")
        return np.asarray(part[b"data"], dtype=np.uint8), np.asarray(part[b"fine_labels"], dtype=np.int64)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not a part of CIFAR-100's python version: {error!r}; get it from {WHERE}") from error
