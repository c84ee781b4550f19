"""The task ``quantile_regression``: several quantiles of a response, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, RawData, Task, hookimpl
from plugins.data.tables.diabetes import DIABETES
from plugins.data.tables.rdatasets import AMES, BOSTON, COMPUTERS, CONCRETE, CPSSW8, DIAMONDS
from plugins.data.tables.uci import ENERGY, KIN8NM, NAVAL, POWER_PLANT, PROTEIN, WINE_RED, YACHT

TASK = "quantile_regression"
BASE = ("base_predictions",)

# Read by `bench plugin check`: what these methods are meant to do otherwise.
AS_A_BASE_MODEL = "it trains its networks as base models are trained, until the protocol's patience or steps end"
expected_failures = {
    name: {"budget_is_honoured": AS_A_BASE_MODEL} for name in ("gaussian_network", "simultaneous_network", "joint_network", "deep_ensemble")
}

FORESTS = Paper("Quantile Regression Forests", year=2006, url="https://www.jmlr.org/papers/v7/meinshausen06a.html")

LEVELS = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)  # per cent
NOMINAL = (20, 40, 60, 80, 90, 98)  # per cent, of central intervals


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="quantile_regression",
        entry=f"{__name__}.protocol:QuantileRegressionProtocol",
        summary="Predict several quantiles of a response; judged by pinball loss and calibration on a test part",
        verbs=("fit",),
        metrics=(
            "wis",
            "pinball_10",
            "pinball_50",
            "pinball_90",
            "coverage_80",
            "width_80",
            "calibration_error",
            "crossing_rate",
        ),
        budget=("steps",),
        privileges=(
            (
                "base_predictions",
                "predictions of the base models, out of fold for the training part: each is fitted once a fold, and once more",
            ),
        ),
        example="heteroscedastic",
        example_settings=(("network_steps", 60), ("network_patience", 20), ("trees", 5)),
        artifact="out-of-fold predictions of the base models",
        artifact_parameters=("base_models", "folds", "search_draws", "network_steps", "network_patience", "network_batch_size", "trees"),
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield Dataset(
        name="heteroscedastic",
        task="quantile_regression",
        entry=f"{__name__}.datasets.synthetic:Heteroscedastic",
        summary="Synthetic: mean, scale and skew change with five attributes; the true quantiles are known",
    )
    yield _dataset(CONCRETE, "Concrete", "Strength of concrete from its mixture and age")
    yield _dataset(BOSTON, "Boston", "House values in Boston in 1970; one column encodes race, so take another set where you can")
    yield _dataset(COMPUTERS, "Computers", "Prices of personal computers, 1993 to 1995")
    yield _dataset(DIAMONDS, "Diamonds", "Prices of diamonds, on the logarithm")
    yield _dataset(DIABETES, "Diabetes", "Progression of diabetes after a year; little signal")
    yield _dataset(CPSSW8, "Cpssw8", "Hourly earnings in the USA, whose spread grows with education")
    yield _dataset(AMES, "Ames", "Prices of houses in Ames, on the logarithm; 73 attributes, most of them categories")
    yield _dataset(ENERGY, "Energy", "Heating load of simulated buildings")
    yield _dataset(KIN8NM, "Kin8nm", "Reach of a simulated robot arm")
    yield _dataset(NAVAL, "Naval", "Decay of a simulated gas turbine's compressor")
    yield _dataset(POWER_PLANT, "PowerPlant", "Output of a combined cycle power plant")
    yield _dataset(PROTEIN, "Protein", "Error of protein decoys")
    yield _dataset(WINE_RED, "WineRed", "Quality of red wines; the response has six values")
    yield _dataset(YACHT, "Yacht", "Resistance of yacht models")


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield Method(
        "marginal_quantiles",
        TASK,
        f"{__name__}.baselines.marginal:MarginalQuantiles",
        "The quantiles of the training responses, for every row",
    )
    yield Method(
        "linear_quantile_regression",
        TASK,
        f"{__name__}.baselines.linear:LinearQuantileRegression",
        "One linear program a level",
        Paper("Regression Quantiles", year=1978, url="https://doi.org/10.2307/1913643"),
    )
    yield _single("gaussian_network", "GaussianNetwork", "A network gives mean and variance of a normal distribution; common practice")
    yield _single(
        "simultaneous_network",
        "SimultaneousNetwork",
        "The level is an input of the network, drawn anew for each sample",
        Paper("Single-Model Uncertainties for Deep Learning", year=2019, arxiv="1811.00908"),
    )
    yield _single("joint_network", "JointNetwork", "A network with one output a level, made monotone afterwards; common practice")
    yield Method(
        "deep_ensemble",
        TASK,
        f"{__name__}.baselines.deep_ensemble:DeepEnsemble",
        "Five Gaussian networks as a mixture, predicted by the normal distribution of its moments",
        Paper("Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles", year=2017, arxiv="1612.01474"),
    )
    yield Method(
        "ngboost",
        TASK,
        f"{__name__}.baselines.ngboost:NGBoost",
        "Mean and scale of a normal distribution, boosted along the natural gradient",
        Paper("NGBoost: Natural Gradient Boosting for Probabilistic Prediction", year=2020, arxiv="1910.03225"),
    )
    yield _single("quantile_forest", "QuantileForest", "A random forest's leaves as a weighted sample of the response", FORESTS, "tables")
    yield _single("extra_trees", "ExtraTrees", "The same with trees that split at random", FORESTS, "tables")
    yield _single(
        "lightgbm",
        "LightGBM",
        "One boosted ensemble a level",
        Paper(
            "LightGBM: A Highly Efficient Gradient Boosting Decision Tree",
            year=2017,
            url="https://papers.nips.cc/paper/6907-lightgbm-a-highly-efficient-gradient-boosting-decision-tree",
        ),
        "tables",
    )
    yield _aggregate("best_single", "best_single:BestSingle", "The base model of the smallest validation loss; common practice")
    yield _aggregate("average", "average:Average", "The mean over the base models, level by level; common practice")
    yield _aggregate("median", "median:Median", "The median over the base models, level by level; common practice")
    yield _aggregate("inverse_score", "inverse_score:InverseScore", "Weights by one over the validation loss; common practice")
    yield _aggregate(
        "qra",
        "qra:QuantileRegressionAveraging",
        "Linear quantile regression on the base predictions, level by level",
        Paper(
            "Computing electricity spot price prediction intervals using quantile regression and forecast averaging",
            year=2015,
            url="https://doi.org/10.1007/s00180-014-0523-0",
        ),
    )
    yield _aggregate(
        "fqra",
        "fqra:FactorQuantileRegressionAveraging",
        "The same on their leading principal components",
        Paper(
            "Probabilistic forecasting of electricity spot prices using Factor Quantile Regression Averaging",
            year=2016,
            url="https://doi.org/10.1016/j.ijforecast.2014.12.004",
        ),
    )


@hookimpl
def bench_metrics():
    """Give the metrics, on the test part, in standard deviations of the training responses where they have a unit."""
    yield _metric("wis", "Weighted interval score a level: 2 x the mean over samples and levels of the pinball loss", (0.0, None))
    yield _metric("wis_sum", "Weighted interval score as a sum: 2 x the sum over levels of the mean pinball loss", (0.0, None))
    yield _metric("interval_score", "Unweighted mean of the interval scores of the central intervals; another number than wis", (0.0, None))
    yield _metric("excess_wis", "wis less that of the true quantiles; only where they are known", (None, None))
    yield _metric("calibration_error", "Mean over levels of |share of responses at or below the quantile - level|", (0.0, 1.0), unit="%")
    yield _metric("coverage_error", "Mean over central intervals of |coverage - nominal|", (0.0, 1.0), unit="%")
    yield _metric("crossing_rate", "Share of adjacent pairs of quantiles that cross before they are repaired", (0.0, 1.0), unit="%")
    for level in LEVELS:
        yield _metric(f"pinball_{level}", f"Mean pinball loss of the {level} % quantile, where the data have this level", (0.0, None))
    for nominal in NOMINAL:
        yield _metric(
            f"coverage_{nominal}",
            f"Coverage of the central {nominal} % interval, where the levels have its ends",
            (0.0, 1.0),
            "higher",
            "%",
        )
        yield _metric(f"width_{nominal}", f"Mean width of the central {nominal} % interval, where the levels have its ends", (0.0, None))


def _dataset(raw: RawData, class_name: str, summary: str) -> Dataset:
    return Dataset(name=raw.name, task="quantile_regression", entry=f"{__name__}.datasets.tables:{class_name}", summary=summary, raw=(raw,))


def _single(name: str, class_name: str, summary: str, paper: Paper | None = None, extra: str | None = None) -> Method:
    return Method(name, TASK, f"{__name__}.baselines.base_models:{class_name}", summary, paper, extra=extra)


def _aggregate(name: str, entry: str, summary: str, paper: Paper | None = None) -> Method:
    return Method(name, TASK, f"{__name__}.baselines.{entry}", summary, paper, privileges=BASE)


def _metric(
    name: str, summary: str, bounds: tuple[float | None, float | None], direction: Literal["higher", "lower"] = "lower", unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="quantile_regression",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
