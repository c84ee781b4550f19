"""The task ``continual_binary``: one task after the other for a network of weights +1 and -1, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, Task, hookimpl
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.images.mnist import MNIST

# Read by `bench plugin check`: what this method is meant to do otherwise.
expected_failures = {
    "ewc_binary": {"budget_is_honoured": "its Fisher information is that of the whole training set, once a task, whatever the budget"}
}


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="continual_binary",
        entry=f"{__name__}.protocol:ContinualProtocol",
        summary="Learn one task after the other with binary weights; judged on the test sets of all, or by order parameters beside their theory",
        verbs=("begin",),
        metrics=("accuracy", "accuracy_mean_field", "learning_accuracy", "forgetting", "accuracy_first", "accuracy_last"),
        budget=("steps",),
        privileges=(
            ("theory", "what the mean field foresees of the order parameters"),
            ("past_data", "the training sets of the tasks before"),
        ),
        example="permuted_digits",
        artifact="the mean field of a perceptron's tasks",
        artifact_parameters=("theory_beta", "theory_prior", "theory_kl_weight"),
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield Dataset(
        name="perceptron",
        task="continual_binary",
        entry=f"{__name__}.datasets.perceptron:Perceptron",
        summary="Random patterns that a teacher perceptron labels, then one that is akin to it; their theory is known",
    )
    yield Dataset(
        name="permuted_digits",
        task="continual_binary",
        entry=f"{__name__}.datasets.pictures:PermutedDigits",
        summary="Handwritten digits, 64 pixels in another order for each task; fast",
        raw=(DIGITS,),
    )
    yield Dataset(
        name="permuted_mnist",
        task="continual_binary",
        entry=f"{__name__}.datasets.pictures:PermutedMnist",
        summary="Handwritten digits, 784 pixels in another order for each task",
        raw=(MNIST,),
    )
    yield Dataset(
        name="mnist_then_fashion",
        task="continual_binary",
        entry=f"{__name__}.datasets.pictures:MnistThenFashion",
        summary="Handwritten digits, then clothes with the same ten labels",
        raw=(MNIST, FASHION_MNIST),
    )


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield Method(
        name="plain_binary",
        task="continual_binary",
        entry=f"{__name__}.baselines.straight:PlainBinary",
        summary="Straight-through training of hidden weights, nothing against forgetting: common practice, the floor",
        paper=Paper("Binarized Neural Networks", year=2016, arxiv="1602.02830"),
    )
    yield Method(
        name="metaplastic",
        task="continual_binary",
        entry=f"{__name__}.baselines.straight:Metaplastic",
        summary="Steps towards 0 are smaller, the further a hidden weight is from it",
        paper=Paper("Synaptic metaplasticity in binarized neural networks", year=2021, arxiv="2003.03533"),
    )
    yield Method(
        name="ewc_binary",
        task="continual_binary",
        entry=f"{__name__}.baselines.ewc:EWC",
        summary="Hidden weights are held where each task left them, by their Fisher information",
        paper=Paper("Overcoming catastrophic forgetting in neural networks", year=2017, arxiv="1612.00796"),
    )
    yield Method(
        name="joint_binary",
        task="continual_binary",
        entry=f"{__name__}.baselines.straight:Joint",
        summary="Straight-through training on the data of all tasks that have come: common practice, what could be known",
        privileges=("past_data",),
    )
    yield Method(
        name="real_weights",
        task="continual_binary",
        entry=f"{__name__}.baselines.real:RealWeights",
        summary="A network of real weights, nothing against forgetting: common practice, what binary weights cost",
    )


@hookimpl
def bench_metrics():
    """Give the metrics: accuracies on the test sets of the tasks, and order parameters after the last task of a perceptron."""
    yield _share("accuracy", "Mean over tasks of the test accuracy after the last, by the binary weights")
    yield _share("accuracy_mean_field", "The same by the mean weights, of a learner that holds a distribution of weights")
    yield _share("accuracy_first", "Test accuracy on the first task after the last")
    yield _share("accuracy_last", "Test accuracy on the last task")
    yield _share("learning_accuracy", "Mean over tasks of the test accuracy right after each")
    yield _share("incremental_accuracy", "Mean over tasks of the mean test accuracy on those that have come by then")
    yield _metric(
        "forgetting", "Mean over all tasks but the last of the best test accuracy before it less that after it", "lower", (-1.0, 1.0), "%"
    )
    yield _metric("self_overlap", "qd: mean square of the mean weights, after the last task of a perceptron", "higher", (0.0, 1.0))
    yield _metric("teacher_overlap", "r: overlap of the mean weights and those of the last teacher", "higher", (-1.0, 1.0))
    yield _metric("sign_overlap_first", "p1: overlap of the binary weights and those of the first teacher", "higher", (-1.0, 1.0))
    yield _metric("sign_overlap_last", "p2: overlap of the binary weights and those of the last teacher", "higher", (-1.0, 1.0))
    yield _metric(
        "free_entropy",
        "Phi per weight of a theory's solution for the first task; of two, the greater is the equilibrium",
        "higher",
        (None, None),
    )


def _share(name: str, summary: str) -> Metric:
    return _metric(name, summary, "higher", (0.0, 1.0), "%")


def _metric(
    name: str, summary: str, direction: Literal["higher", "lower"], bounds: tuple[float | None, float | None], unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="continual_binary",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
