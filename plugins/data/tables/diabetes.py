"""Progression of diabetes: the small regression table that scikit-learn carries, and its readers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DIABETES", "read_scikit_learn", "read_tab"]

COLUMNS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "progression")

DIABETES = RawData(
    name="diabetes",
    summary="442 patients, 10 attributes as measured, and the `progression` of diabetes one year later (25 to 346)",
    content="51bb3a2570eb83f3dfe61ddb14234e59cfdb81f2d8c0d996bd4ba7c47c6d38da",
    licence="BSD-3-Clause (scikit-learn, which carries it)",
    citation="B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, Least Angle Regression, Annals of Statistics 32(2), 2004",
    size_bytes=39_623,
    sources=(
        Source("file", "diabetes", f"{__name__}:read_tab"),
        Source("package", "sklearn", f"{__name__}:read_scikit_learn"),
        Source("url", "https://www4.stat.ncsu.edu/~boos/var.select/diabetes.tab.txt", f"{__name__}:read_tab"),
    ),
)


def read_scikit_learn(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the table that scikit-learn carries, before any scaling.

    Returns:
        A packed table (:mod:`plugins.data.tables.columns`) of ``age`` (years), ``sex`` (1, 2), ``bmi`` (kg/m2), ``bp`` (mean blood pressure, mmHg),
        ``s1`` to ``s6`` (blood serum) and ``progression``, all float64.
    """
    import numpy as np

    data = folder / "datasets" / "data"
    x = np.loadtxt(data / "diabetes_data_raw.csv.gz")
    y = np.loadtxt(data / "diabetes_target.csv.gz")

    return _packed(np.column_stack([x, y]))


def read_tab(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the authors' ``diabetes.tab.txt``: a header line, then the same eleven columns between tabs.

    Returns:
        As :func:`read_scikit_learn`.

    Raises:
        FileNotFoundError: It is not there.
    """
    import numpy as np

    with (folder / "diabetes.tab.txt").open(encoding="ascii") as file:
        return _packed(np.loadtxt(file, skiprows=1))


def _packed(table: np.ndarray) -> dict[str, np.ndarray]:
    import pandas as pd

    from plugins.data.tables.columns import pack_table

    return pack_table(pd.DataFrame(table, columns=list(COLUMNS)))
