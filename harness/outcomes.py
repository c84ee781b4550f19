"""Outcomes as bytes: a dataclass of arrays in the safetensors format, so that a new metric need not train again."""

from __future__ import annotations

import dataclasses
from typing import Any

from harness.errors import StoreError

__all__ = ["pack_outcome", "unpack_outcome"]

MAX_BYTES = 16_000_000  # a larger outcome is not kept: its trial runs again when a metric is added


def pack_outcome(outcome: object) -> bytes | None:
    """Return the bytes of an outcome, or ``None`` where it is no dataclass of numpy arrays (and ``None`` fields) or too large to keep."""
    import numpy as np

    if not dataclasses.is_dataclass(outcome) or isinstance(outcome, type):
        return None
    arrays = {}
    for field in dataclasses.fields(outcome):
        value = getattr(outcome, field.name)
        if isinstance(value, np.ndarray):
            arrays[field.name] = np.ascontiguousarray(value)
        elif value is not None:
            return None
    if sum(array.nbytes for array in arrays.values()) > MAX_BYTES:
        return None

    from safetensors.numpy import save

    try:
        packed: bytes = save(arrays)
    except Exception:  # an array of a type that the format does not know: text, objects
        return None

    return packed


def unpack_outcome(outcome_type: type, packed: bytes) -> Any:  # Any: an instance of outcome_type
    """
    Rebuild an outcome; a field without an array is ``None``.

    Raises:
        StoreError: The bytes are no outcome of this type.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    names = [field.name for field in dataclasses.fields(outcome_type)]
    try:
        arrays = load(packed)
    except SafetensorError as error:
        raise StoreError(f"a kept outcome cannot be read: {error}") from error
    unknown = set(arrays) - set(names)
    if unknown:
        raise StoreError(f"a kept outcome has the unknown field '{min(unknown)}' for {outcome_type.__name__}")

    return outcome_type(**{name: arrays.get(name) for name in names})
