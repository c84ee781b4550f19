"""Data sets of the task ``quantile_regression``: real tables with a numeric response, and one synthetic set whose quantiles are known."""

from harness import Dataset, RawData, hookimpl
from plugins.data.tables.diabetes import DIABETES
from plugins.data.tables.rdatasets import AMES, BOSTON, COMPUTERS, CONCRETE, CPSSW8, DIAMONDS
from plugins.data.tables.uci import ENERGY, KIN8NM, NAVAL, POWER_PLANT, PROTEIN, WINE_RED, YACHT


@hookimpl
def bench_datasets():
    """Give one spec a data set."""
    yield Dataset(
        name="heteroscedastic",
        task="quantile_regression",
        entry=f"{__name__}.synthetic:Heteroscedastic",
        summary="Synthetic: mean, scale and skew change with five attributes; the true quantiles are known",
    )
    yield _spec(CONCRETE, "Concrete", "Strength of concrete from its mixture and age")
    yield _spec(BOSTON, "Boston", "House values in Boston in 1970; one column encodes race, so take another set where you can")
    yield _spec(COMPUTERS, "Computers", "Prices of personal computers, 1993 to 1995")
    yield _spec(DIAMONDS, "Diamonds", "Prices of diamonds, on the logarithm")
    yield _spec(DIABETES, "Diabetes", "Progression of diabetes after a year; little signal")
    yield _spec(CPSSW8, "Cpssw8", "Hourly earnings in the USA, whose spread grows with education")
    yield _spec(AMES, "Ames", "Prices of houses in Ames, on the logarithm; 73 attributes, most of them categories")
    yield _spec(ENERGY, "Energy", "Heating load of simulated buildings")
    yield _spec(KIN8NM, "Kin8nm", "Reach of a simulated robot arm")
    yield _spec(NAVAL, "Naval", "Decay of a simulated gas turbine's compressor")
    yield _spec(POWER_PLANT, "PowerPlant", "Output of a combined cycle power plant")
    yield _spec(PROTEIN, "Protein", "Error of protein decoys")
    yield _spec(WINE_RED, "WineRed", "Quality of red wines; the response has six values")
    yield _spec(YACHT, "Yacht", "Resistance of yacht models")


def _spec(raw: RawData, class_name: str, summary: str) -> Dataset:
    return Dataset(name=raw.name, task="quantile_regression", entry=f"{__name__}.tables:{class_name}", summary=summary, raw=(raw,))
