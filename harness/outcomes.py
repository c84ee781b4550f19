"""
Outcomes as bytes, in the safetensors format: what the process of a method hands to the one that judges it, and what is kept, so that a new metric need
not train again. Reading them runs nobody's code.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from typing import Any

from harness.errors import StoreError

__all__ = ["MAX_KEPT_BYTES", "pack_outcome", "unpack_outcome"]

MAX_KEPT_BYTES = 16_000_000  # a larger outcome is not kept: its trial runs again when a metric is added

# The types of arrays that the format knows; an array of another (texts, complex numbers) travels as numpy's own file.
PLAIN = frozenset(["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"])
OTHER_ARRAYS, VALUES = "arrays in numpy's format", "values in JSON"


def pack_outcome(outcome: object) -> bytes:
    """
    Return the bytes of an outcome: a dataclass whose fields are numpy arrays, ``None``, or values that JSON holds.

    Raises:
        TypeError: It is none; the field is named.
    """
    import numpy as np
    from safetensors.numpy import save

    if not dataclasses.is_dataclass(outcome) or isinstance(outcome, type):
        raise TypeError(f"an outcome is a dataclass of arrays, this one is a {type(outcome).__name__}")
    arrays: dict[str, np.ndarray] = {}
    others: list[str] = []
    values: dict[str, Any] = {}
    for field in dataclasses.fields(outcome):
        value = getattr(outcome, field.name)
        if isinstance(value, np.ndarray) and value.dtype.name in PLAIN:
            arrays[field.name] = np.require(value, requirements="C")  # which leaves a scalar its shape
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            file = io.BytesIO()
            np.save(file, value, allow_pickle=False)
            arrays[field.name] = np.frombuffer(file.getvalue(), dtype=np.uint8)
            others.append(field.name)
        elif value is not None:
            values[field.name] = value
    metadata = {OTHER_ARRAYS: json.dumps(others)} if others else {}
    if values:
        metadata[VALUES] = _json(values)
    packed: bytes = save(arrays, metadata or None)

    return packed


def unpack_outcome(outcome_type: type, packed: bytes) -> Any:  # Any: an instance of outcome_type
    """
    Rebuild an outcome; a field of which nothing is there is ``None``.

    Raises:
        StoreError: The bytes are no outcome of this type.
    """
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    names = [field.name for field in dataclasses.fields(outcome_type)]
    try:
        fields: dict[str, Any] = load(packed)
        metadata = _metadata(packed)
        for name in json.loads(metadata.get(OTHER_ARRAYS, "[]")):
            fields[name] = np.load(io.BytesIO(fields[name].tobytes()), allow_pickle=False)
        fields |= json.loads(metadata.get(VALUES, "{}"))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"a kept outcome cannot be read: {error}") from error
    unknown = set(fields) - set(names)
    if unknown:
        raise StoreError(f"a kept outcome has the unknown field '{min(unknown)}' for {outcome_type.__name__}")

    return outcome_type(**{name: fields.get(name) for name in names})


def _json(values: Mapping[str, Any]) -> str:
    for name, value in values.items():
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError, RecursionError):
            same = False
        if not same:
            raise TypeError(f"an outcome holds arrays of numpy, and values that JSON holds; its '{name}' is a {type(value).__name__}")

    return json.dumps(dict(values))


def _metadata(packed: bytes) -> dict[str, str]:
    """Read the texts in the head of the bytes: eight of them give its length."""
    length = int.from_bytes(packed[:8], "little")
    found: dict[str, str] = json.loads(packed[8 : 8 + length]).get("__metadata__", {})

    return found
