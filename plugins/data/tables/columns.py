"""
Tables as arrays: one array a column, and what the columns are as JSON.

The arrays are ``c000``, ``c001`` ... in the order of the columns, and ``columns``, UTF-8 bytes of a JSON list with ``name``, ``kind``, ``levels`` and
``ordered`` of each. Numbers are float64, int64 or bool. Text and categories are codes into their levels, -1 where the value is missing, in the smallest
of int8, int16 and int32 that has room.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import RawData

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_table", "pack_table", "unpack_table"]

CODE_TYPES = (np.int8, np.int16, np.int32)


def pack_table(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """
    Turn a data frame into arrays that can be hashed and memory-mapped; :func:`unpack_table` is the inverse.

    Integers become int64 and floats float64. The levels of a text column are its distinct values in alphabetical order; those of a category stay as they
    are, unused ones too.

    Raises:
        TypeError: A column holds something else than numbers, text or categories that are text, or integers of which some are missing.
        ValueError: Two columns share a name, a name is no text, or the rows are not numbered 0, 1, ...: an index would be lost.
    """
    names = list(frame.columns)
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"the columns {names} must be distinct texts")
    if not np.array_equal(frame.index, np.arange(len(frame))):
        raise ValueError("the rows must be numbered 0, 1, ...; `reset_index` does it")

    arrays = {}
    described = []
    for number, name in enumerate(names):
        arrays[_array_name(number)], facts = _pack_column(frame[name])
        described.append({"name": name, **facts})
    text = json.dumps(described, ensure_ascii=False)
    arrays["columns"] = np.frombuffer(text.encode(), dtype=np.uint8)

    return arrays


def unpack_table(arrays: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the data frame that :func:`pack_table` packed; text columns have the type that pandas gives to text, with NaN where a value is missing."""
    import pandas as pd

    described = json.loads(arrays["columns"].tobytes().decode())
    columns = {facts["name"]: _unpack_column(arrays[_array_name(number)], facts) for number, facts in enumerate(described)}

    return pd.DataFrame(columns)


def load_table(raw: RawData) -> pd.DataFrame:
    """
    Return a raw data set that :func:`pack_table` packed, as a data frame of its own that may be written to.

    Raises:
        DataError: As :func:`harness.data.load`.
    """
    from harness.data import load

    return unpack_table(load(raw))


def _array_name(number: int) -> str:
    return f"c{number:03d}"


def _pack_column(column: pd.Series) -> tuple[np.ndarray, dict[str, Any]]:  # Any: what JSON takes
    """Return the array of one column and what is written about it."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = column.cat.categories.tolist()
        _check_texts(column.name, levels)
        return _codes(column.cat.codes.to_numpy(), levels), _facts("category", levels, bool(column.dtype.ordered))
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        present = column.dropna().tolist()
        _check_texts(column.name, present)
        levels = sorted(set(present))
        place = {level: code for code, level in enumerate(levels)}
        codes = [-1 if missing else place[value] for value, missing in zip(column, column.isna(), strict=True)]
        return _codes(codes, levels), _facts("text", levels)
    if isinstance(column.dtype, np.dtype):
        for kind, stored in (("bool", np.bool_), ("int", np.int64), ("float", np.float64)):
            if np.can_cast(column.dtype, stored):
                return column.to_numpy(dtype=stored), _facts(kind)
    raise TypeError(f"column '{column.name}' is {column.dtype}; numbers that fit int64 or float64, text and categories can be packed")


def _unpack_column(stored: np.ndarray, facts: Mapping[str, Any]) -> pd.Series:
    import pandas as pd

    if facts["kind"] == "category":
        kind = pd.CategoricalDtype(pd.Index(facts["levels"], dtype=str), ordered=facts["ordered"])
        return pd.Series(pd.Categorical.from_codes(np.array(stored), dtype=kind))
    if facts["kind"] == "text":
        text_type = pd.Series([""]).dtype  # `str` since pandas 3
        levels = pd.Series([*facts["levels"], np.nan], dtype=text_type)
        return levels.take(np.array(stored)).reset_index(drop=True)  # code -1 takes the last, which is missing

    return pd.Series(np.array(stored))


def _codes(codes: Sequence[int] | np.ndarray, levels: Sequence[str]) -> np.ndarray:
    """Return codes in the smallest type that has room for every level, used or not."""
    kind = next(kind for kind in CODE_TYPES if len(levels) - 1 <= np.iinfo(kind).max)

    return np.asarray(codes, dtype=kind)


def _facts(kind: str, levels: Sequence[str] = (), ordered: bool = False) -> dict[str, Any]:
    return {"kind": kind, "levels": list(levels), "ordered": ordered}


def _check_texts(name: str, values: Sequence[object]) -> None:
    """Refuse a column whose values or levels are not all text."""
    other = next((value for value in values if not isinstance(value, str)), None)
    if other is not None:
        raise TypeError(f"column '{name}' holds {other!r} ({type(other).__name__}) among its texts")
