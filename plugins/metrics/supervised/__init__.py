"""Metrics of the task ``supervised``: quality on the test set, the fit of the training set, and what training did to the weights."""

from typing import Literal

from harness import Metric, hookimpl


@hookimpl
def bench_metrics():
    """Give one spec a metric."""
    yield _fraction("accuracy", "Test accuracy")
    yield _spec("nll", "Negative log-likelihood on the test set (natural logarithm)", "lower", (0.0, None))
    yield _spec("ece", "Expected calibration error on the test set, 15 bins", "lower", (0.0, 1.0))
    yield _fraction("train_accuracy", "Accuracy on the training set, labels as they were trained on")
    yield _spec("train_loss", "Cross entropy of the training set after training (natural logarithm)", "lower", (0.0, None))
    yield _spec("train_test_gap", "Training accuracy less test accuracy", "lower", (-1.0, 1.0), "%")
    yield _spec("weight_norm_growth", "Mean norm of the hidden layers' weights, after training over before", "lower", (0.0, None))
    yield _spec("effective_step_first", "By how much a step of the first epoch turns the hidden layers' weights", "higher", (0.0, 2.0))
    yield _spec("effective_step_middle", "By how much a step of the middle epoch turns the hidden layers' weights", "higher", (0.0, 2.0))
    yield _spec("samples_to_accuracy", "Samples trained on until validation accuracy first reaches 90 %", "lower", (0.0, None))
    yield _spec(
        "near_zero_share", "Share of the middle layers' weights below a tenth of their standard deviation", "lower", (0.0, 1.0), "%"
    )
    yield _spec("kurtosis", "Kurtosis of the middle layers' weights; 3 for a normal distribution", "lower", (1.0, None))
    yield _spec("max_over_std", "Largest magnitude of the middle layers' weights, in standard deviations", "lower", (0.0, None))


def _fraction(name: str, summary: str) -> Metric:
    return _spec(name, summary, "higher", (0.0, 1.0), unit="%")


def _spec(
    name: str, summary: str, direction: Literal["higher", "lower"], bounds: tuple[float | None, float | None], unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="supervised",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
