"""Metrics of the task ``rare_events``, on the test set unless they say otherwise; all are about the probability of the rare class."""

from typing import Literal

from harness import Metric, hookimpl


@hookimpl
def bench_metrics():
    """Give one spec a metric."""
    yield _spec(
        "log_loss", "Log loss of the rare class (natural logarithm), probabilities kept within 1e-6 of 0 and 1", "lower", (0.0, None)
    )
    yield _spec("brier", "Mean squared error of the probability against whether the rare class came", "lower", (0.0, 1.0))
    yield _spec("mse", "Mean squared error against the true probability at the training points, where it is known", "lower", (0.0, 1.0))
    yield _spec("log10_mse", "Decimal logarithm of mse: differences are ratios, and no single run decides the mean", "lower", (-300.0, 0.0))
    yield _spec("mse_test", "Mean squared error against the true probability at fresh points, where it is known", "lower", (0.0, 1.0))
    yield _spec("auc", "ROC AUC: how often a rare sample has a greater probability than another one", "higher", (0.0, 1.0))
    yield _spec("average_precision", "Average precision of the ranking by probability", "higher", (0.0, 1.0))
    yield _spec("ece", "Mean distance of probability and frequency over bins of equal counts", "lower", (0.0, 1.0))
    yield _spec(
        "oce",
        "Mean squared distance of each probability from the frequency in its bin (the calibration error of the PRESTO paper)",
        "lower",
        (0.0, 1.0),
    )
    yield _spec(
        "oce_as_released",
        "The same with the order of the predictions lost, as in the paper's code; no calibration error",
        "lower",
        (0.0, 1.0),
    )
    yield _spec("crossing_rate", "Share of test points where a class has a negative probability", "lower", (0.0, 1.0), "%")


def _spec(
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
