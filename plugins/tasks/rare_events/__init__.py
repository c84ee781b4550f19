"""The task ``rare_events``: the probability of the rarest of ordered classes, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, RawData, Task, hookimpl
from plugins.data.tables.rdatasets import CHEM97, HPC_DATA, LENDING_CLUB, SOUP, WVS_BRIBE


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="rare_events",
        entry=f"{__name__}.protocol:RareEventsProtocol",
        summary="Predict the probability of the rarest of ordered classes; judged against the truth where it is known, else by proper scores",
        verbs=("fit",),
        metrics=("log_loss", "brier", "log10_mse", "auc", "average_precision", "ece", "oce"),
        budget=(),
        example="sparse_differences",
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield Dataset(
        name="sparse_differences",
        task="rare_events",
        entry=f"{__name__}.datasets.synthetic:SparseDifferences",
        summary="Drawn from cumulative logits with few different weights between boundaries; the truth is known (PRESTO paper, section 4.1)",
    )
    yield Dataset(
        name="dense_differences",
        task="rare_events",
        entry=f"{__name__}.datasets.synthetic:DenseDifferences",
        summary="Drawn from cumulative logits with slightly different weights everywhere; the truth is known (PRESTO paper, section 4.2)",
    )
    yield Dataset(
        name="funnel",
        task="rare_events",
        entry=f"{__name__}.datasets.synthetic:Funnel",
        summary="Drawn step by step, view to click to purchase; the continuation ratio is the true model",
    )
    yield _dataset("soup", "Soup", "How sure are 185 tasters that a soup is the new product? 6 levels, 12 % the rare one", SOUP)
    yield _dataset("hpc_jobs", "HpcJobs", "How long does a job of a computing cluster run? 4 levels, 6 % the rare one", HPC_DATA)
    yield _dataset("chem97", "Chem97", "Grades of A-level chemistry, from A down to failed; 6 levels, 12 % the last one", CHEM97)
    yield _dataset(
        "bribe", "Bribe", "May a bribe be justified? 10 levels, 1.4 % say always; 330,664 people; not for commercial use", WVS_BRIBE
    )
    yield _dataset(
        "lending_club",
        "LendingClub",
        "The grade that a lender gave to a loan, A to G, 0.8 % the rare one; or loans gone bad, 5 %",
        LENDING_CLUB,
    )


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield Method(
        name="constant",
        task="rare_events",
        entry=f"{__name__}.baselines.constant:Constant",
        summary="The share of the rare class in the training set, whatever the features: common practice, the floor of every score",
    )
    yield Method(
        name="logistic",
        task="rare_events",
        entry=f"{__name__}.baselines.logistic:Logistic",
        summary="Unpenalised logistic regression of the rare class against the rest: common practice",
    )
    yield Method(
        name="class_weighted",
        task="rare_events",
        entry=f"{__name__}.baselines.logistic:ClassWeighted",
        summary="Logistic regression in which both classes weigh the same: common practice",
    )
    yield Method(
        name="firth",
        task="rare_events",
        entry=f"{__name__}.baselines.firth:Firth",
        summary="Logistic regression with Firth's correction of the bias, finite under separation",
        paper=Paper("Bias reduction of maximum likelihood estimates", year=1993, url="https://doi.org/10.1093/biomet/80.1.27"),
    )
    flic = Paper(
        "Firth's logistic regression with rare events: accurate effect estimates and predictions?",
        year=2017,
        url="https://doi.org/10.1002/sim.7273",
    )
    yield Method(
        name="flic",
        task="rare_events",
        entry=f"{__name__}.baselines.flic:Flic",
        summary="Firth's logistic regression with the intercept that makes the mean probability the rate of events",
        paper=flic,
    )
    yield Method(
        name="flac",
        task="rare_events",
        entry=f"{__name__}.baselines.flic:Flac",
        summary="Firth's logistic regression whose pseudo samples have an intercept of their own",
        paper=flic,
    )
    yield Method(
        name="focal",
        task="rare_events",
        entry=f"{__name__}.baselines.focal:Focal",
        summary="Logistic model under the focal loss, which leaves out what is easy",
        paper=Paper("Focal Loss for Dense Object Detection", year=2017, arxiv="1708.02002"),
    )
    yield Method(
        name="proportional_odds",
        task="rare_events",
        entry=f"{__name__}.baselines.cumulative:ProportionalOdds",
        summary="Cumulative logits with the same weights at every boundary, maximum likelihood",
        paper=Paper("Regression Models for Ordinal Data", year=1980, url="https://www.jstor.org/stable/2984952"),
        extra="tables",
    )
    yield Method(
        name="non_parallel",
        task="rare_events",
        entry=f"{__name__}.baselines.cumulative:NonParallel",
        summary="Cumulative logits with weights of its own for every boundary, unpenalised: common practice",
        extra="tables",
    )
    yield Method(
        name="semi_parallel",
        task="rare_events",
        entry=f"{__name__}.baselines.semi_parallel:SemiParallel",
        summary="Cumulative logits with weights that boundaries share and weights of each, all shrunk by an elastic net",
        paper=Paper("Regularized Ordinal Regression and the ordinalNet R Package", year=2021, arxiv="1706.05003"),
        extra="tables",
    )
    yield Method(
        name="multinomial",
        task="rare_events",
        entry=f"{__name__}.baselines.classes:Multinomial",
        summary="Multinomial logistic regression, which ignores the order of the classes: common practice",
    )
    yield Method(
        name="continuation_ratio",
        task="rare_events",
        entry=f"{__name__}.baselines.classes:ContinuationRatio",
        summary="A logistic regression for each step from a class to the next, multiplied: common practice for funnels",
    )
    yield Method(
        name="corn",
        task="rare_events",
        entry=f"{__name__}.baselines.corn:Corn",
        summary="A network with an output for each step from a class to the next",
        paper=Paper(
            "Deep Neural Networks for Rank-Consistent Ordinal Regression Based On Conditional Probabilities", year=2023, arxiv="2111.08851"
        ),
    )
    yield Method(
        name="gradient_boosting",
        task="rare_events",
        entry=f"{__name__}.baselines.gradient_boosting:GradientBoosting",
        summary="LightGBM on the rare class against the rest, calibrated by isotonic regression",
        paper=Paper(
            "LightGBM: A Highly Efficient Gradient Boosting Decision Tree",
            year=2017,
            url="https://papers.nips.cc/paper/6907-lightgbm-a-highly-efficient-gradient-boosting-decision-tree",
        ),
        extra="tables",
    )


@hookimpl
def bench_metrics():
    """Give the metrics, on the test set unless they say otherwise; all are about the probability of the rare class."""
    yield _metric(
        "log_loss", "Log loss of the rare class (natural logarithm), probabilities kept within 1e-6 of 0 and 1", "lower", (0.0, None)
    )
    yield _metric("brier", "Mean squared error of the probability against whether the rare class came", "lower", (0.0, 1.0))
    yield _metric("mse", "Mean squared error against the true probability at the training points, where it is known", "lower", (0.0, 1.0))
    yield _metric(
        "log10_mse", "Decimal logarithm of mse: differences are ratios, and no single run decides the mean", "lower", (-300.0, 0.0)
    )
    yield _metric("mse_test", "Mean squared error against the true probability at fresh points, where it is known", "lower", (0.0, 1.0))
    yield _metric("auc", "ROC AUC: how often a rare sample has a greater probability than another one", "higher", (0.0, 1.0))
    yield _metric("average_precision", "Average precision of the ranking by probability", "higher", (0.0, 1.0))
    yield _metric("ece", "Mean distance of probability and frequency over bins of equal counts", "lower", (0.0, 1.0))
    yield _metric(
        "oce",
        "Mean squared distance of each probability from the frequency in its bin (the calibration error of the PRESTO paper)",
        "lower",
        (0.0, 1.0),
    )
    yield _metric(
        "oce_as_released",
        "The same with the order of the predictions lost, as in the paper's code; no calibration error",
        "lower",
        (0.0, 1.0),
    )
    yield _metric("crossing_rate", "Share of test points where a class has a negative probability", "lower", (0.0, 1.0), "%")


def _dataset(name: str, class_name: str, summary: str, raw: RawData) -> Dataset:
    return Dataset(name=name, task="rare_events", entry=f"{__name__}.datasets.tables:{class_name}", summary=summary, raw=(raw,))


def _metric(
    name: str, summary: str, direction: Literal["higher", "lower"], bounds: tuple[float | None, float | None], unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="rare_events",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
