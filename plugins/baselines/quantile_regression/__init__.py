"""Baselines of the task ``quantile_regression``: single models, and aggregates that learn little or nothing."""

from harness import Method, Paper, hookimpl

TASK = "quantile_regression"
BASE = ("base_predictions",)

# Read by `bench plugin check`: what these methods are meant to do otherwise.
AS_A_BASE_MODEL = "it trains as the base model of the same name does, for the steps that the protocol gives all base models"
expected_failures = {
    name: {"budget_is_honoured": AS_A_BASE_MODEL} for name in ("gaussian_network", "simultaneous_network", "joint_network")
}

FORESTS = Paper("Quantile Regression Forests", year=2006, url="https://www.jmlr.org/papers/v7/meinshausen06a.html")


@hookimpl
def bench_methods():
    """Give one spec a method."""
    yield Method(
        "marginal_quantiles", TASK, f"{__name__}.marginal:MarginalQuantiles", "The quantiles of the training responses, for every row"
    )
    yield Method(
        "linear_quantile_regression",
        TASK,
        f"{__name__}.linear:LinearQuantileRegression",
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


def _single(name: str, class_name: str, summary: str, paper: Paper | None = None, extra: str | None = None) -> Method:
    return Method(name, TASK, f"{__name__}.base_models:{class_name}", summary, paper, extra=extra)


def _aggregate(name: str, entry: str, summary: str, paper: Paper | None = None) -> Method:
    return Method(name, TASK, f"{__name__}.{entry}", summary, paper, privileges=BASE)
