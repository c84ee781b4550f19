"""Tables that Debian's R packages carry as ``.rda`` files, and their readers; no R is needed."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["INSURANCE", "R_TABLES", "SHUTTLE", "read_insurance", "read_rda", "read_shuttle"]

CRAN = "https://cran.r-project.org/src/contrib/Archive"


def read_rda(folder: Path, stem: str, name: str) -> dict[str, np.ndarray]:
    """
    Read one data frame of ``<stem>.rda``, at any depth below ``folder``, and pack it (:mod:`plugins.data.tables.columns`).

    Args:
        folder: Where the file lies.
        stem: Its name without the suffix.
        name: The frame in it. Its row names, which count from 1, are left out.

    Raises:
        FileNotFoundError: It is not there.
    """
    import rdata

    from plugins.data.tables.columns import pack_table

    path = next(folder.rglob(f"{stem}.rda"), None)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "no such file", str(folder / f"{stem}.rda"))
    # Files of R before 3.5 do not say how their text is encoded; that of these is ASCII.
    frame = rdata.conversion.convert(rdata.parser.parse_file(path), default_encoding="ASCII")[name].reset_index(drop=True)
    frame.columns = [str(column) for column in frame.columns]

    return pack_table(frame)


read_insurance = partial(read_rda, stem="ticdata", name="ticdata")
read_shuttle = partial(read_rda, stem="Shuttle", name="Shuttle")


def _sources(name: str, package: str, version: str, file: str) -> tuple[Source, ...]:
    """Name the user's copy of the file, Debian's package, and the archive of CRAN that Debian built it from."""
    reader = f"{__name__}:read_{name}"

    return (
        Source("file", name, reader),
        Source("apt", f"r-cran-{package}", reader, members=(f"*/{package}/data/{file}",)),
        Source("url", f"{CRAN}/{package}/{package}_{version}.tar.gz", reader, members=(f"{package}/data/{file}",)),
    )


INSURANCE = RawData(
    name="insurance",
    summary="9,822 customers of an insurer, 85 attributes, 586 have a caravan policy (`CARAVAN`); CoIL 2000, training and test set",
    content="5e30add1731b7788acb37db813bff62ac82a318dd4a6eac64ff768f78a2761d9",
    licence="GPL-2 (kernlab); its owner allows non-commercial research and education",
    citation=(
        "P. van der Putten and M. van Someren (eds.), CoIL Challenge 2000: The Insurance Company Case, Leiden 2000, doi 10.24432/C5630S"
    ),
    size_bytes=2_440_132,
    sources=_sources("insurance", "kernlab", "0.9-32", "ticdata.rda"),
    commercial=False,
    extra="r",
)

SHUTTLE = RawData(
    name="shuttle",
    summary="58,000 states of a space shuttle's radiator, 9 attributes, 7 classes (45,586 to 10)",
    content="a11584306cfb98d0ff0b098a43dbb23ee169122fa008091b70e0209663e87d57",
    licence="GPL-2 (mlbench); CC BY 4.0 at UCI",
    citation="J. Catlett, Statlog (Shuttle), UCI, doi 10.24432/C5WS31, in: F. Leisch and E. Dimitriadou, mlbench, CRAN",
    size_bytes=4_234_734,
    sources=_sources("shuttle", "mlbench", "2.1-3", "Shuttle.rda"),
    extra="r",
)

R_TABLES = (INSURANCE, SHUTTLE)
