"""The digits of scikit-learn: 1,797 handwritten ones of 8x8 pixels, and their reader."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["DIGITS", "read_digits"]

READERS = "plugins.data.images.digits"

DIGITS = RawData(
    name="digits",
    summary="1,797 handwritten digits of 8x8 pixels, 10 classes",
    content="d3d7b5c48fe95d8d5ffb9c8367a0abfbe39d1e5507c64265b3aa57235c632366",
    licence="CC BY 4.0",
    citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998, doi 10.24432/C50P49",
    size_bytes=116_805,
    sources=(Source("package", "sklearn", f"{READERS}:read_digits"),),
)


def read_digits(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the digits that scikit-learn carries.

    Returns:
        ``x`` ``(1797, 8, 8)`` in 0..16 and ``y`` ``(1797,)``.
    """
    import numpy as np

    with gzip.open(folder / "datasets" / "data" / "digits.csv.gz", "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)

    return {"x": table[:, :-1].reshape(-1, 8, 8), "y": table[:, -1]}
