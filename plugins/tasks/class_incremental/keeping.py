"""What a method keeps between two experiences beside its memory: how many numbers, and whether past samples are among them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plugins.tasks.class_incremental.stream import Memory

__all__ = ["SampleHashes", "n_numbers", "tensors_within"]

LIBRARIES = ("torch", "numpy", "harness", "builtins", "collections")
CONTAINERS = (Tensor, np.ndarray, list, dict, set, tuple)


class SampleHashes:
    """
    Samples known by the hash of their bytes, so that they are found again wherever they are kept as they were.

    One of equal numbers, such as a text without a known word, is left out: weights that are all 0 are no sample.
    """

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._size = 0

    def add(self, x: Tensor) -> None:
        """Know these, ``(N, ...)``, all of one shape."""
        self._size = x[0].numel()
        rows = x.flatten(1)
        self._known.update(_hashes(rows[rows.amax(dim=1) > rows.amin(dim=1)], self._size))

    def found_in(self, tensors: list[Tensor], but: Memory) -> int:
        """Return how many of the known samples stand in tensors, those of the memory left aside."""
        allowed = set() if but.samples is None else set(_hashes(but.samples.x, self._size))
        found = {code for values in tensors if values.numel() % self._size == 0 for code in _hashes(values, self._size)}

        return len((found & self._known) - allowed)


def tensors_within(method: object, but: Memory) -> list[Tensor]:
    """
    Return the tensors and arrays that a method can reach, those of the memory left aside, each storage once.

    Followed are attributes, containers, closures, and what stands in the classes and modules that the method is made of. Python can hide more than that:
    this is a fence and no wall.
    """
    known = {values.data_ptr() for values in but.tensors}
    found = []
    for values in _walk(method):
        tensor = values.detach() if isinstance(values, Tensor) else torch.from_numpy(values) if values.dtype.kind in "fiu" else None
        if tensor is not None and tensor.numel() > 0 and tensor.data_ptr() not in known:
            known.add(tensor.data_ptr())
            found.append(tensor)

    return found


def n_numbers(tensors: list[Tensor]) -> int:
    """Return how many numbers tensors hold."""
    return sum(values.numel() for values in tensors)


def _walk(root: object) -> Iterator[Tensor | np.ndarray]:
    seen: set[int] = set()
    waiting: list[Any] = [root]  # Any: whatever a method is made of
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, Memory | ModuleType):
            continue
        seen.add(id(value))
        if isinstance(value, Tensor | np.ndarray):
            yield value
        elif isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        elif isinstance(value, FunctionType):
            waiting += [cell.cell_contents for cell in value.__closure__ or ()] + list(value.__defaults__ or ())
        elif hasattr(value, "__dict__") and not isinstance(value, type):
            waiting += vars(value).values()
            waiting += _shared_by_the_class(type(value))


def _shared_by_the_class(cls: type) -> list[Any]:  # Any: likewise
    """Return the containers that stand in a class of the method's own, and in its module."""
    if cls.__module__.split(".")[0] in LIBRARIES:
        return []
    places = [vars(cls), vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}]

    return [value for place in places for name, value in place.items() if isinstance(value, CONTAINERS) and not name.startswith("__")]


def _hashes(x: Tensor, size: int) -> list[int]:
    if x.dtype != torch.float32:
        return []
    rows = np.ascontiguousarray(x.detach().cpu().numpy()).reshape(-1, size)

    return [hash(row.tobytes()) for row in rows]
