"""The task ``supervised``: optimisers and regularisers of a classifier, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, RawData, Task, hookimpl
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.images.mnist import MNIST
from plugins.models.efficientnet_lite0 import CIFAR10_FEATURES

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
SUPPLIED = "the user supplies the files"
expected_failures = {name: {"loads_in_a_worker": SUPPLIED} for name in ("cifar100", "image_folder")}


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="supervised",
        entry=f"{__name__}.protocol:SupervisedProtocol",
        summary="Train a classifier with an optimiser or a regulariser of the method's own; judged on a test set",
        verbs=("fit",),
        metrics=("accuracy", "nll", "ece", "train_loss", "train_test_gap", "weight_norm_growth", "effective_step_middle"),
        budget=("epochs",),
        example="digits",
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield _dataset("digits", "pictures:Digits", "Handwritten digits, 8x8, 10 classes; the fastest", DIGITS)
    yield _dataset("fashion_mnist", "pictures:FashionMnist", "Pictures of clothes, 28x28, 10 classes", FASHION_MNIST)
    yield _dataset("mnist", "pictures:Mnist", "Handwritten digits, 28x28, 10 classes", MNIST)
    yield _dataset("cifar10", "pictures:Cifar10", "Colour pictures of things and animals, 32x32, 10 classes", CIFAR10)
    yield Dataset(
        name="cifar10_features",
        task="supervised",
        entry=f"{__name__}.datasets.features:Cifar10Features",
        summary="What a pretrained network sees of CIFAR-10, 1,280 features, 10 classes",
        artifacts=(CIFAR10_FEATURES,),
        extra="models",
    )
    yield _dataset("cifar100", "pictures:Cifar100", "Colour pictures, 32x32, 100 classes; the user supplies the files")
    yield _dataset("image_folder", "folder:ImageFolder", "Pictures in a folder a class, such as ImageNet's; the user supplies the files")


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield _method("sgd", "sgd:SGD", "SGD with momentum and L2 regularisation: common practice", at_once=True)
    yield _method(
        "adam",
        "adam:Adam",
        "Adam with L2 regularisation",
        Paper("Adam: A Method for Stochastic Optimization", year=2015, arxiv="1412.6980"),
        at_once=True,
    )
    yield _method(
        "adamw",
        "adam:AdamW",
        "Adam with decoupled weight decay",
        Paper("Decoupled Weight Decay Regularization", year=2019, arxiv="1711.05101"),
        at_once=True,
    )
    yield _method(
        "sam",
        "sam:SAM",
        "SGD along the gradient at the worst point of a small ball round the weights; two passes a step",
        Paper("Sharpness-Aware Minimization for Efficiently Improving Generalization", year=2021, arxiv="2010.01412", venue="ICLR"),
    )
    yield _method(
        "lion",
        "lion:Lion",
        "Steps along the sign of the momentum, with decoupled weight decay",
        Paper("Symbolic Discovery of Optimization Algorithms", year=2023, arxiv="2302.06675", venue="NeurIPS"),
        at_once=True,
    )
    yield _method(
        "muon",
        "muon:Muon",
        "Momentum whose updates of hidden matrices are orthogonalised; AdamW for all else",
        Paper("Muon: An optimizer for hidden layers in neural networks", year=2024, url="https://kellerjordan.github.io/posts/muon/"),
    )
    yield _method(
        "schedule_free_adamw",
        "schedule_free_adamw:ScheduleFreeAdamW",
        "AdamW at a constant rate whose averaged weights are judged; the recipe's schedule is left out",
        Paper("The Road Less Scheduled", year=2024, arxiv="2405.15682", venue="NeurIPS"),
    )
    yield _method(
        "dropout",
        "dropout:Dropout",
        "SGD, with hidden units left out at random",
        Paper(
            "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
            year=2014,
            url="https://jmlr.org/papers/v15/srivastava14a.html",
        ),
    )
    yield _method(
        "label_smoothing",
        "label_smoothing:LabelSmoothing",
        "SGD on targets that keep a share for every class",
        Paper("Rethinking the Inception Architecture for Computer Vision", year=2016, arxiv="1512.00567"),
        at_once=True,
    )
    yield _method(
        "weight_normalisation",
        "weight_normalisation:WeightNormalisation",
        "SGD on the direction and the length of each unit's weights",
        Paper(
            "Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural Networks",
            year=2016,
            arxiv="1602.07868",
        ),
    )
    yield _method(
        "mixup",
        "mixup:Mixup",
        "SGD on samples and labels that are mixed in pairs",
        Paper("mixup: Beyond Empirical Risk Minimization", year=2018, arxiv="1710.09412", venue="ICLR"),
    )
    yield _method(
        "powerpropagation",
        "powerpropagation:Powerpropagation",
        "SGD on parameters whose power is the weight, so that small weights stay small",
        Paper("Powerpropagation: A sparsity inducing weight reparameterisation", year=2021, arxiv="2110.00296", venue="NeurIPS"),
    )


@hookimpl
def bench_metrics():
    """Give the metrics: quality on the test set, the fit of the training set, and what training did to the weights."""
    yield _fraction("accuracy", "Test accuracy")
    yield _metric("nll", "Negative log-likelihood on the test set (natural logarithm)", "lower", (0.0, None))
    yield _metric("ece", "Expected calibration error on the test set, 15 bins", "lower", (0.0, 1.0))
    yield _fraction("train_accuracy", "Accuracy on the training set, labels as they were trained on")
    yield _metric("train_loss", "Cross entropy of the training set after training (natural logarithm)", "lower", (0.0, None))
    yield _metric("train_test_gap", "Training accuracy less test accuracy", "lower", (-1.0, 1.0), "%")
    yield _metric(
        "best_epoch", "The epoch, from 1, whose network is judged: the last of the budget unless training stops early", "lower", (1.0, None)
    )
    yield _metric("weight_norm_growth", "Mean norm of the hidden layers' weights, after training over before", "lower", (0.0, None))
    yield _metric("effective_step_first", "By how much a step of the first epoch turns the hidden layers' weights", "higher", (0.0, 2.0))
    yield _metric("effective_step_middle", "By how much a step of the middle epoch turns the hidden layers' weights", "higher", (0.0, 2.0))
    yield _metric("samples_to_accuracy", "Samples trained on until validation accuracy first reaches 90 %", "lower", (0.0, None))
    yield _metric(
        "near_zero_share", "Share of the middle layers' weights below a tenth of their standard deviation", "lower", (0.0, 1.0), "%"
    )
    yield _metric("kurtosis", "Kurtosis of the middle layers' weights; 3 for a normal distribution", "lower", (1.0, None))
    yield _metric("max_over_std", "Largest magnitude of the middle layers' weights, in standard deviations", "lower", (0.0, None))


def _dataset(name: str, entry: str, summary: str, *raw: RawData) -> Dataset:
    return Dataset(name=name, task="supervised", entry=f"{__name__}.datasets.{entry}", summary=summary, raw=raw)


def _method(name: str, entry: str, summary: str, paper: Paper | None = None, at_once: bool = False) -> Method:
    return Method(
        name=name,
        task="supervised",
        entry=f"{__name__}.baselines.{entry}",
        summary=summary,
        paper=paper,
        seeds_at_once=f"{__name__}.baselines.at_once:fit_seeds" if at_once else "",
    )


def _fraction(name: str, summary: str) -> Metric:
    return _metric(name, summary, "higher", (0.0, 1.0), unit="%")


def _metric(
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
