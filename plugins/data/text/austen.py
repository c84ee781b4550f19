"""The six novels of Jane Austen, from the data of an R package."""

from __future__ import annotations

import gzip
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["AUSTEN", "NOVELS", "read_installed", "read_source"]

NOVELS = ("emma", "mansfieldpark", "northangerabbey", "persuasion", "prideprejudice", "sensesensibility")

AUSTEN = RawData(
    name="austen",
    summary="The six novels of Jane Austen, 4.0 million characters",
    content="177160b5d506844618e410039fb74415a48a39169d2ace10dbc445dcd45671b8",
    licence="public domain (novels, from Project Gutenberg); MIT (package)",
    citation="J. Silge, janeaustenr: Jane Austen's complete novels, R package 1.0.0, 2022",
    size_bytes=4_025_085,
    sources=(
        Source("file", "austen", f"{__name__}:read_source"),
        # No digest of the archive: apt checks signatures itself, and distributions that rebuild the package change its bytes but not the novels.
        Source("apt", "r-cran-janeaustenr", f"{__name__}:read_installed", size_bytes=1_626_392, members=("*/janeaustenr/data/Rdata.*",)),
        Source(
            "url",
            "https://cran.r-project.org/src/contrib/janeaustenr_1.0.0.tar.gz",
            f"{__name__}:read_source",
            members=("janeaustenr/data/*.rda",),
        ),
    ),
    extra="r",
)


def read_installed(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the data of an installed R package, anywhere below ``folder``.

    ``Rdata.rdx`` is a compressed table of where each object lies in ``Rdata.rdb``; there, a length (4 bytes) stands before a zlib stream.

    Returns:
        ``text``, ``offsets``: the novels in the order of ``NOVELS``, lines joined by a line feed.
    """
    table = next(folder.rglob("Rdata.rdx"), folder / "Rdata.rdx")
    places = {str(name): place.tolist() for name, place in _convert(gzip.decompress(table.read_bytes()))["variables"].items()}
    content = table.with_suffix(".rdb").read_bytes()

    def lines(novel: str) -> list[str]:
        start, length = places[novel]
        return list(_convert(zlib.decompress(content[start + 4 : start + length])))

    return _packed([lines(novel) for novel in NOVELS])


def read_source(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the data of the source package, anywhere below ``folder``: ``emma.rda`` ...

    Returns:
        As :func:`read_installed`.
    """
    files = {path.stem: path for path in folder.rglob("*.rda")}

    return _packed([list(_convert(files.get(novel, folder / f"{novel}.rda").read_bytes())[novel]) for novel in NOVELS])


def _convert(content: bytes) -> Any:  # Any: whatever was saved
    import rdata

    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Unknown file type: assumed RDS"
        )  # an object without the header of a file, as it should be
        return rdata.conversion.convert(rdata.parser.parse_data(content))


def _packed(novels: list[list[str]]) -> dict[str, np.ndarray]:
    from harness.data import pack_texts

    return pack_texts(["\n".join(lines) + "\n" for lines in novels])._asdict()
