"""
Reading the pickles that some data packages hold, without letting them run code.

A pickle may name any function and call it. Here only the classes and functions that arrays and data frames are rebuilt with are admitted, and none of them
is given a state, which would stay when the pickle is forgotten.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, ClassVar

__all__ = ["load_pickle"]

# Complete names, not packages: numpy and pandas hold functions too that run what they are given (`pandas.eval`, `numpy.load`).
ADMITTED = {
    "numpy": {"ndarray", "dtype", "float64", "float32", "int64", "int32", "uint8", "bool_", "str_"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "pandas": {
        "Categorical",
        "DataFrame",
        "Series",
        "Index",
        "RangeIndex",
        "CategoricalDtype",
        "StringDtype",
        "DatetimeIndex",
        "Timestamp",
        "MultiIndex",
    },
    "pandas._libs.arrays": {"__pyx_unpickle_NDArrayBacked"},
    "pandas._libs.internals": {"_unpickle_block"},
    "pandas._libs.missing": {"NA", "NAType"},
    "pandas.arrays": {"ArrowStringArray", "BooleanArray", "DatetimeArray", "FloatingArray", "IntegerArray", "StringArray"},
    "pandas.core.arrays.boolean": {"BooleanArray", "BooleanDtype"},
    "pandas.core.arrays.categorical": {"Categorical"},
    "pandas.core.arrays.datetimes": {"DatetimeArray"},
    "pandas.core.arrays.floating": {"FloatingArray", "Float64Dtype"},
    "pandas.core.arrays.integer": {"IntegerArray", "Int64Dtype", "Int32Dtype"},
    "pandas.core.arrays.string_": {"StringArray", "StringDtype"},
    "pandas.core.dtypes.dtypes": {"CategoricalDtype"},
    "pandas.core.frame": {"DataFrame"},
    "pandas.core.indexes.base": {"Index", "_new_Index"},
    "pandas.core.indexes.range": {"RangeIndex"},
    "pandas.core.internals.blocks": {"new_block"},
    "pandas.core.internals.managers": {"BlockManager", "SingleBlockManager"},
    "pandas.core.series": {"Series"},
}
RENAMED = {
    "numpy.core.multiarray": "numpy._core.multiarray",  # by numpy 2
    "numpy.core.numeric": "numpy._core.numeric",
    "__builtin__": "builtins",  # by Python 3; pickles of protocol 2 keep the old name
}
BUILTINS = {"slice", "int", "float", "complex", "bool", "str", "bytes", "bytearray", "list", "tuple", "dict", "set", "frozenset"}


class _Unpickler(pickle._Unpickler):
    """The one that is written in Python: that in C lets nobody see what is given a state."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def load_build(self) -> None:
        """Set the state of the last object but one of the stack, as its last says."""
        given = self.stack[-2]  # type: ignore[attr-defined]  # typeshed leaves it out, as what follows
        if callable(given):  # a class or a function, which is everybody's
            raise pickle.UnpicklingError(f"it sets the state of {given!r:.80}, which is not an object of its own")
        super().load_build()  # type: ignore[misc]  # see above

    dispatch[pickle.BUILD[0]] = load_build  # type: ignore[assignment]  # typeshed has the class of C there

    def find_class(self, module: str, name: str) -> Any:  # Any: whatever the name stands for
        module = RENAMED.get(module, module)
        if name in ADMITTED.get(module, ()) or (module == "builtins" and name in BUILTINS):
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 writes bytes
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names '{module}.{name}', which no array or data frame needs")


def load_pickle(content: bytes, encoding: str = "ASCII") -> Any:  # Any: whatever was pickled
    """
    Rebuild arrays and data frames from a pickle.

    Args:
        content: The pickle.
        encoding: How the strings that Python 2 wrote are read; ``"bytes"`` leaves them bytes, which its arrays need.

    Raises:
        pickle.UnpicklingError: It names anything else; nothing of it was called.
    """
    return _Unpickler(io.BytesIO(content), encoding=encoding).load()
