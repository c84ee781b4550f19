"""The task ``filter_pruning``: which units of a trained network should go, judged by what retraining makes of each choice; its data sets, criteria and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, RawData, Task, hookimpl
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.images.mnist import MNIST

TAYLOR = Paper("Importance Estimation for Neural Network Pruning", year=2019, arxiv="1906.10771", venue="CVPR")

# Read by `bench plugin check`: what these methods are meant to do otherwise.
NO_TRAINING = "it trains nothing: a criterion of the network as it is"
expected_failures = {name: {"budget_is_honoured": NO_TRAINING} for name in ("taylor_weight", "taylor_activation")}


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="filter_pruning",
        entry=f"{__name__}.protocol:FilterPruningProtocol",
        summary="Score ways to remove units of a trained network; judged by the test accuracy that each way has once it is retrained",
        verbs=("score",),
        metrics=(
            "pick_accuracy",
            "tau_accuracy",
            "tau_train_loss",
            "anomaly",
            "regret",
            "p_value",
            "ceiling",
            "mean_accuracy",
            "best_accuracy",
            "dense_accuracy",
        ),
        budget=("epochs",),
        example="digits",
        example_settings=(("widths", (6,)), ("candidates", 20), ("retrain_epochs", 1), ("pretrain_epochs", 3)),
        artifact="the trained network, its candidates, and what comes of them",
        artifact_parameters=(
            "widths",
            "kernels",
            "reduction",
            "pooling",
            "layers",
            "removed",
            "candidates",
            "repeats",
            "retrain_epochs",
            "pretrain_epochs",
            "pretrain_learning_rate",
            "batch_size",
            "learning_rate",
            "weight_decay",
        ),
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield _dataset("digits", "Digits", "Handwritten digits, 8x8, 10 classes; the fastest", DIGITS)
    yield _dataset("mnist", "Mnist", "Handwritten digits, 28x28, 10 classes", MNIST)
    yield _dataset("fashion_mnist", "FashionMnist", "Pictures of clothes, 28x28, 10 classes", FASHION_MNIST)
    yield _dataset("cifar10", "Cifar10", "Colour pictures of things and animals, 32x32, 10 classes", CIFAR10)


@hookimpl
def bench_methods():
    """Give the baselines: the criteria that oracle pruning is compared with."""
    yield _method(
        "l1",
        "criteria:L1",
        "Units of small weights go",
        Paper("Pruning Filters for Efficient ConvNets", year=2017, arxiv="1608.08710", venue="ICLR"),
    )
    yield _method("l2", "criteria:L2", "Units of small weights go, by their Euclidean norm: common practice")
    yield _method("taylor_weight", "criteria:TaylorWeight", "Units go whose weights change the loss least, to first order", TAYLOR)
    yield _method(
        "taylor_activation",
        "criteria:TaylorActivation",
        "Units go whose activations change the loss least, to first order",
        Paper("Pruning Convolutional Neural Networks for Resource Efficient Inference", year=2017, arxiv="1611.06440", venue="ICLR"),
    )
    yield _method("random", "criteria:Random", "Any units go: common practice, the floor")
    yield _method(
        "short_retraining",
        "short_retraining:ShortRetraining",
        "The candidate of least validation loss behind a short retraining of all",
        Paper(
            "Is Oracle Pruning the True Oracle? A Sanity-Check of the Pruning Paradigm over the Past 35 Years",
            year=2024,
            arxiv="2412.00143",
        ),
    )


@hookimpl
def bench_metrics():
    """Give the metrics; accuracies are of the test set, and a candidate's is the mean over its retrainings."""
    yield _fraction("pick_accuracy", "Accuracy of the candidate with the lowest score, retrained")
    yield _metric(
        "tau_accuracy", "Kendall's tau of scores and accuracies behind retraining; -1 where the scores foresee them", "lower", (-1.0, 1.0)
    )
    yield _metric(
        "tau_train_loss",
        "Kendall's tau of scores and training losses behind retraining; 1 where the scores foresee them",
        "higher",
        (-1.0, 1.0),
    )
    yield _fraction("anomaly", "Share of candidates that are better than the pick, retrained", "lower")
    yield _fraction("regret", "Accuracy of the best candidate less that of the pick", "lower")
    yield _metric("p_value", "How probable so large a tau with the accuracies is by chance", "lower", (0.0, 1.0))
    yield _metric(
        "ceiling", "Kendall's tau between retrainings of the same candidates: what noise leaves to foresee", "higher", (-1.0, 1.0)
    )
    yield _fraction("mean_accuracy", "Mean accuracy of all candidates, retrained: what a pick by chance has")
    yield _fraction("best_accuracy", "Accuracy of the best candidate, retrained")
    yield _fraction("dense_accuracy", "Accuracy of the whole network")


def _dataset(name: str, class_name: str, summary: str, *raw: RawData) -> Dataset:
    return Dataset(name=name, task="filter_pruning", entry=f"plugins.data.images.pictures:{class_name}", summary=summary, raw=raw)


def _method(name: str, entry: str, summary: str, paper: Paper | None = None) -> Method:
    return Method(name=name, task="filter_pruning", entry=f"{__name__}.baselines.{entry}", summary=summary, paper=paper)


def _fraction(name: str, summary: str, direction: Literal["higher", "lower"] = "higher") -> Metric:
    return _metric(name, summary, direction, (0.0, 1.0), unit="%")


def _metric(
    name: str, summary: str, direction: Literal["higher", "lower"], bounds: tuple[float | None, float | None], unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="filter_pruning",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
