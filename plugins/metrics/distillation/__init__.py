"""Metrics of the task ``distillation``, of the student on the test set unless they say otherwise."""

from typing import Literal

from harness import Metric, hookimpl


@hookimpl
def bench_metrics():
    """Give one spec a metric."""
    yield _fraction("accuracy", "Test accuracy")
    yield _fraction(
        "top5", "Share of test samples whose class is among the five that the student finds likeliest; more than five classes only"
    )
    yield _spec("nll", "Negative log-likelihood (natural logarithm)", "lower", (0.0, None))
    yield _spec("ece", "Expected calibration error, 15 bins", "lower", (0.0, 1.0))
    yield _fraction("agreement", "Share of test samples for which student and teacher name the same class")
    yield _spec("kl_to_teacher", "Divergence of the student's probabilities from the teacher's (natural logarithm)", "lower", (0.0, None))
    yield _fraction("teacher_accuracy", "Test accuracy of the teacher, which is that of every method")


def _fraction(name: str, summary: str) -> Metric:
    return _spec(name, summary, "higher", (0.0, 1.0), unit="%")


def _spec(
    name: str, summary: str, direction: Literal["higher", "lower"], bounds: tuple[float | None, float | None], unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="distillation",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
