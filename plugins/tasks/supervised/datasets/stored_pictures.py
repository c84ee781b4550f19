"""Pictures that are decoded once and stay on the disk: a batch is read when it is trained on, so that no set is too large for memory or device."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.data import cache_home, ensure_room
from harness.errors import DataError

__all__ = ["StoredPictures", "decoded", "standardisation"]

CHUNK = 256  # pictures that are read at once, for means


class StoredPictures:
    """
    Standardised pictures ``(N, 3, side, side)`` that stand for a tensor where samples are indexed or split: what is asked for is read then.

    Args:
        stored: Decoded pictures, ``(M, 3, side, side)`` uint8, of which these are some.
        rows: ``(N,)``, positions in ``stored``.
        mean: Of each channel, ``(3, 1, 1)``, subtracted from values in [0, 1].
        deviation: Of each channel, ``(3, 1, 1)``, divided by.
        device: Where batches go.
    """

    def __init__(self, stored: np.ndarray, rows: np.ndarray, mean: Tensor, deviation: Tensor, device: str = "cpu") -> None:
        self._stored, self._rows, self._device = stored, rows, device
        self._mean, self._deviation = mean.to(device), deviation.to(device)
        self.shape = torch.Size((len(rows), *stored.shape[1:]))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Read pictures, float32 on the device."""
        rows = self._rows[index.cpu().numpy() if isinstance(index, Tensor) else index]
        x = torch.from_numpy(self._stored[rows]).to(self._device).float() / 255

        return (x - self._mean) / self._deviation

    def split(self, size: int, dim: int = 0) -> Iterator[Tensor]:
        """Read so many pictures at once; ``torch.split`` calls this."""
        return (self[slice(begin, begin + size)] for begin in range(0, len(self), size))

    def to(self, device: str) -> StoredPictures:
        """Return the same pictures, whose batches go to another device."""
        return StoredPictures(self._stored, self._rows, self._mean, self._deviation, device)

    def clone(self) -> StoredPictures:
        """Return the same pictures: what is read is a copy already."""
        return self


def standardisation(stored: np.ndarray, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation, ``(3, 1, 1)`` each, of values in [0, 1]; of a constant channel 1e-6 instead of 0."""
    sums = np.zeros((2, 3))
    for begin in range(0, len(rows), CHUNK):
        x = stored[np.sort(rows[begin : begin + CHUNK])].astype(np.float64) / 255
        sums += x.sum(axis=(0, 2, 3)), (x**2).sum(axis=(0, 2, 3))
    mean, square = sums / (len(rows) * stored.shape[2] * stored.shape[3])
    deviation = np.sqrt(np.maximum(square - mean**2, 0)).clip(min=1e-6)

    return torch.tensor(mean, dtype=torch.float32)[:, None, None], torch.tensor(deviation, dtype=torch.float32)[:, None, None]


def decoded(paths: Sequence[Path], rows: np.ndarray, size: int, read: Callable[[Path, int], np.ndarray]) -> np.ndarray:
    """
    Return a file of the cache as ``(M, 3, size, size)`` uint8, mapped into memory, in which the pictures of these rows are decoded, each once and for all.

    It is known by names, sizes and times of all files, and takes room on the disk for the decoded pictures alone. Two processes that decode the same one
    write the same.

    Args:
        paths: Of all M pictures.
        rows: Positions of those that are needed.
        size: Side in pixels.
        read: Decodes one, ``(3, size, size)`` uint8; called by as many threads as there are cores.

    Raises:
        DataError: The disk has no room for them.
    """
    about = hashlib.sha256(str(size).encode())
    for path in paths:
        facts = path.stat()
        about.update(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode())
    home = cache_home() / "decoded"
    home.mkdir(parents=True, exist_ok=True)
    name = about.hexdigest()[:32]
    pictures = _mapped(home / f"{name}.npy", (len(paths), 3, size, size))
    is_there = _mapped(home / f"{name}.rows.npy", (len(paths),))
    missing = rows[is_there[rows] == 0]
    try:
        ensure_room(home, len(missing) * pictures[0].nbytes)
    except OSError as error:  # a mapped file that finds no room ends the process without a word
        raise DataError(f"the pictures cannot be decoded into {home}: {error.strerror}") from error

    def decode(row: int) -> None:
        pictures[row] = read(paths[row], size)
        is_there[row] = 1

    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) as workers:
        for _ in workers.map(decode, missing.tolist()):
            pass

    return pictures


def _mapped(path: Path, shape: tuple[int, ...]) -> Any:  # Any: numpy's memmap has no types of its own
    """Map a file of zeros that is made where it is missing; of two processes that make it, one's is taken by both."""
    if not path.exists():
        made = path.with_name(f"{path.stem}.{os.getpid()}.npy")
        np.lib.format.open_memmap(made, "w+", np.uint8, shape).flush()
        with contextlib.suppress(FileExistsError):
            os.link(made, path)
        made.unlink()

    return np.lib.format.open_memmap(path, "r+")
