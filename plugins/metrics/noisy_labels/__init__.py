"""Metrics of the task ``noisy_labels``, on the clean test set unless they say otherwise."""

from typing import Literal

from harness import Metric, hookimpl


@hookimpl
def bench_metrics():
    """Give one spec a metric."""
    yield _fraction("accuracy", "Test accuracy after the last epoch")
    yield _fraction("accuracy_best", "Test accuracy at the best validation epoch")
    yield _fraction("macro_f1", "Mean of the F1 of the classes after the last epoch")
    yield _fraction("macro_f1_best", "Mean of the F1 of the classes at the best validation epoch")
    yield _fraction("f1", "F1 of class 1 after the last epoch; two classes only")
    yield _fraction("f1_best", "F1 of class 1 at the best validation epoch; two classes only")
    yield _spec("nll", "Negative log-likelihood (natural logarithm) after the last epoch", "lower", (0.0, None))
    yield _spec("ece", "Expected calibration error, 15 bins, after the last epoch", "lower", (0.0, 1.0))
    yield _spec("detection_auc", "ROC AUC of the method's sample weights as detector of clean training labels", "higher", (0.0, 1.0))


def _fraction(name: str, summary: str) -> Metric:
    return _spec(name, summary, "higher", (0.0, 1.0), unit="%")


def _spec(
    name: str, summary: str, direction: Literal["higher", "lower"], bounds: tuple[float | None, float | None], unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="noisy_labels",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
