"""
Real tables: which column is the response, on which scale, and how categories become numbers.

Numbers stay as they are and ordered categories become their rank; any other category becomes one column a level. All of them, the response too, are
standardised by the training part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Ge

from harness import RawData, Run
from plugins.data.tables.columns import load_table
from plugins.data.tables.diabetes import DIABETES
from plugins.data.tables.rdatasets import AMES, BOSTON, COMPUTERS, CONCRETE, CPSSW8, DIAMONDS
from plugins.data.tables.uci import ENERGY, KIN8NM, NAVAL, POWER_PLANT, PROTEIN, WINE_RED, YACHT
from plugins.tasks.quantile_regression.datasets.parts import Levels, level_array, quantile_data, random_split
from plugins.tasks.quantile_regression.protocol import QuantileData

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Ames",
    "Boston",
    "Computers",
    "Concrete",
    "Cpssw8",
    "Diabetes",
    "Diamonds",
    "Energy",
    "Kin8nm",
    "Naval",
    "PowerPlant",
    "Protein",
    "RealTable",
    "WineRed",
    "Yacht",
    "as_numbers",
]


@dataclass
class RealTable(Levels):
    """
    A table with a response.

    Args:
        n_rows: How many rows are drawn for the three parts; ``None`` for all.
    """

    raw: ClassVar[RawData]
    target: ClassVar[str]
    logarithm: ClassVar[bool] = False
    left_out: ClassVar[tuple[str, ...]] = ()

    n_rows: Annotated[int, Ge(20)] | None = None

    def load(self, run: Run) -> QuantileData:
        """Draw the rows, split and standardise."""
        table = self.table()
        if self.n_rows is not None and self.n_rows > len(table):
            raise ValueError(f"n_rows is {self.n_rows:,}, '{self.raw.name}' has {len(table):,} rows")
        y = table[self.target].to_numpy(dtype=np.float64)
        attributes = as_numbers(table.drop(columns=[self.target, *self.left_out]))

        return quantile_data(
            attributes.to_numpy(dtype=np.float64),
            np.log(y) if self.logarithm else y,
            tuple(attributes.columns),
            random_split(run, len(table), self.n_rows),
            level_array(self.levels),
        ).data

    def table(self) -> pd.DataFrame:
        """Return the table as published."""
        return load_table(self.raw)


def as_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """
    Turn categories into numbers: ordered ones into their rank, others into one column a level that occurs, named ``column=level``.

    Raises:
        ValueError: A category is missing somewhere; the text names the column. Missing numbers stay, for the container to refuse.
    """
    import pandas as pd

    columns = {}
    for name, column in table.items():
        if pd.api.types.is_numeric_dtype(column):
            columns[name] = column.astype(np.float64)
            continue
        if column.isna().any():
            raise ValueError(f"column '{name}' holds {column.isna().sum()} missing values")
        if isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
            columns[name] = column.cat.codes.astype(np.float64)
            continue
        for level in sorted(column.astype(str).unique()):
            columns[f"{name}={level}"] = (column.astype(str) == level).astype(np.float64)

    return pd.DataFrame(columns)


@dataclass
class Concrete(RealTable):
    """Compressive strength of concrete; UCI concrete."""

    raw: ClassVar[RawData] = CONCRETE
    target: ClassVar[str] = "compressive_strength"


@dataclass
class Boston(RealTable):
    """Median house values by tract; UCI boston. Its column ``black`` encodes race."""

    raw: ClassVar[RawData] = BOSTON
    target: ClassVar[str] = "medv"


@dataclass
class Computers(RealTable):
    """Prices of personal computers."""

    raw: ClassVar[RawData] = COMPUTERS
    target: ClassVar[str] = "price"


@dataclass
class Diamonds(RealTable):
    """Logarithm of the price of diamonds."""

    raw: ClassVar[RawData] = DIAMONDS
    target: ClassVar[str] = "price"
    logarithm: ClassVar[bool] = True


@dataclass
class Diabetes(RealTable):
    """Progression of diabetes."""

    raw: ClassVar[RawData] = DIABETES
    target: ClassVar[str] = "progression"


@dataclass
class Cpssw8(RealTable):
    """Hourly earnings."""

    raw: ClassVar[RawData] = CPSSW8
    target: ClassVar[str] = "earnings"


@dataclass
class Ames(RealTable):
    """Logarithm of the price of houses; a category that is missing says that the house has no such thing."""

    raw: ClassVar[RawData] = AMES
    target: ClassVar[str] = "Sale_Price"
    logarithm: ClassVar[bool] = True

    def table(self) -> pd.DataFrame:
        """Name what is missing."""
        table = load_table(self.raw)
        texts = [name for name, column in table.items() if not np.issubdtype(getattr(column.dtype, "type", object), np.number)]

        return table.assign(**{name: table[name].astype(object).where(table[name].notna(), "none").astype(str) for name in texts})


@dataclass
class Energy(RealTable):
    """Heating load of buildings; UCI energy."""

    raw: ClassVar[RawData] = ENERGY
    target: ClassVar[str] = "y"


@dataclass
class Kin8nm(RealTable):
    """Distance of a robot arm's end; UCI kin8nm."""

    raw: ClassVar[RawData] = KIN8NM
    target: ClassVar[str] = "y"


@dataclass
class Naval(RealTable):
    """Decay of a compressor; UCI naval. The turbine's decay, which the table holds beside it, is left out."""

    raw: ClassVar[RawData] = NAVAL
    target: ClassVar[str] = "y"
    left_out: ClassVar[tuple[str, ...]] = ("y_turbine",)


@dataclass
class PowerPlant(RealTable):
    """Output of a power plant; UCI power."""

    raw: ClassVar[RawData] = POWER_PLANT
    target: ClassVar[str] = "y"


@dataclass
class Protein(RealTable):
    """Error of protein decoys; UCI protein."""

    raw: ClassVar[RawData] = PROTEIN
    target: ClassVar[str] = "y"


@dataclass
class WineRed(RealTable):
    """Quality of red wines; UCI wine_quality."""

    raw: ClassVar[RawData] = WINE_RED
    target: ClassVar[str] = "y"


@dataclass
class Yacht(RealTable):
    """Resistance of yacht models; UCI yacht."""

    raw: ClassVar[RawData] = YACHT
    target: ClassVar[str] = "y"
