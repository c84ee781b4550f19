"""Coat: ratings of coats that people chose and that were drawn for them, and their reader."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["COAT", "read_coat"]

FILES = {"chosen": "train.ascii", "random": "test.ascii"}
MARKS = frozenset("012345")

# The publisher's archive has no digest here, because it was never at hand; the content decides.
COAT = RawData(
    name="coat",
    summary="290 people rate 300 coats, 1 to 5: 24 each that they chose to rate and 16 each that were drawn for them",
    content="06b9ebb375e0f69456ce13d9a1c1be3844dc749ef983bea21d0d27e3c307c4e8",
    licence="none stated; published for research",
    citation="T. Schnabel et al., Recommendations as Treatments: Debiasing Learning and Evaluation, ICML 2016, arXiv:1602.05352",
    size_bytes=174_000,
    sources=(
        Source("file", "coat", f"{__name__}:read_coat"),
        Source(
            "url", "https://www.cs.cornell.edu/~schnabts/mnar/coat.zip", f"{__name__}:read_coat", members=("*train.ascii", "*test.ascii")
        ),
    ),
    commercial=False,
)


def read_coat(folder: Path) -> dict[str, np.ndarray]:
    """
    Read ``train.ascii`` and ``test.ascii``, at any depth below ``folder``: a row of numbers a person, one number a coat.

    Returns:
        ``chosen`` and ``random``, each ``(people, coats)`` uint8: ratings 1 to 5, 0 where there is none.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is not such a matrix, or the two have different shapes.
    """
    matrices = {}
    for name, file in FILES.items():
        path = next(folder.rglob(file), None)
        if path is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(folder / file))
        matrices[name] = _matrix(path)
    shapes = {FILES[name]: matrix.shape for name, matrix in matrices.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"they rate the same coats, but have the shapes {shapes}")

    return matrices


def _matrix(path: Path) -> np.ndarray:
    import numpy as np

    rows = [line.split() for line in path.read_text(encoding="ascii", errors="replace").splitlines() if line.strip()]
    if not rows:
        raise ValueError(f"{path.name} is empty")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise ValueError(f"{path.name}: row {number} has {len(row)} numbers, the first {len(rows[0])}")
        wrong = [value for value in row if value not in MARKS]
        if wrong:
            raise ValueError(f"{path.name}: row {number} holds '{wrong[0]}'; ratings are 1 to 5, and 0 where there is none")

    return np.array(rows, dtype=np.uint8)
