"""Metrics of the task ``semi_supervised``: on the test set, and of what unlabelled samples were taken for in the last 50 steps."""

from typing import Literal

from harness import Metric, hookimpl


@hookimpl
def bench_metrics():
    """Give one spec a metric."""
    yield _share("accuracy", "Test accuracy of the network of averaged weights after the last step")
    yield _share("accuracy_raw", "Test accuracy of the network itself after the last step")
    yield _share("macro_f1", "Mean of the F1 of the classes, by the network of averaged weights")
    yield _spec("nll", "Negative log-likelihood (natural logarithm), by the network of averaged weights", "lower", (0.0, None))
    yield _share("mask_ratio", "Share of the unlabelled samples that a step trained on among all classes")
    yield _share("utilisation", "Share of the unlabelled samples that a step trained on at all")
    yield _share("guess_accuracy", "Accuracy of what all unlabelled samples were taken for, trained on or not")
    yield _share("pseudo_label_precision", "Accuracy of what the samples were taken for that were trained on among all classes")
    yield _share("shrunk_coverage", "Share of the samples trained on among some classes whose true class is one of these")
    yield _share("shrunk_accuracy", "Accuracy of what these were taken for, in a space that holds their true class")


def _share(name: str, summary: str) -> Metric:
    return _spec(name, summary, "higher", (0.0, 1.0), unit="%")


def _spec(
    name: str, summary: str, direction: Literal["higher", "lower"], bounds: tuple[float | None, float | None], unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="semi_supervised",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
