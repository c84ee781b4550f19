"""The task ``corruption_robustness``: networks that withstand corrupted pictures, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, RawData, Task, hookimpl
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.images.frost_textures import FROST_TEXTURES
from plugins.data.images.mnist import MNIST
from plugins.models.resnet8 import RESNET8_CIFAR10

CORRUPTED = ("corrupted",)


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="corruption_robustness",
        entry=f"{__name__}.protocol:CorruptionRobustnessProtocol",
        summary="Make a network that knows clean pictures withstand corrupted ones; judged on both",
        verbs=("fit",),
        metrics=(
            "accuracy",
            "clean_accuracy",
            "robust_accuracy",
            "other_accuracy",
            "worst_accuracy",
            "mild_accuracy",
            "stored_kb",
            "shallow_change",
            "cosine",
        ),
        budget=("epochs",),
        privileges=(
            ("corrupted", "knows the corruptions of the test: corrupted training pictures, and a specialist for each"),
            ("test_batch", "looks at several test pictures at once, without labels"),
        ),
        example="digits",
        example_settings=(
            ("widths", (4, 8)),
            ("batch_size", 100),
            ("pretrain_epochs", 1),
            ("finetune_epochs", 1),
            ("alphas", (0.0, 1.0)),
        ),
        artifact="the pretrained network, the standard one and a specialist for each corruption",
        artifact_parameters=(
            "model",
            "widths",
            "depth",
            "factor",
            "timm_model",
            "activation",
            "norm_momentum",
            "normalised",
            "pooling",
            "pooled",
            "initialisation",
            "batch_size",
            "schedule",
            "warmup",
            "augmentation",
            "precision",
            "momentum",
            "weight_decay",
            "pretrain_epochs",
            "pretrain_learning_rate",
            "finetune_epochs",
            "finetune_learning_rate",
        ),
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield _dataset("digits", "Digits", "Digits, 8x8, after pretraining on others turned by a right angle; six corruptions", DIGITS)
    yield _dataset(
        "digits_after_mnist", "DigitsAfterMnist", "Digits, 8x8, after pretraining on MNIST in that size; six corruptions", DIGITS, MNIST
    )
    yield _dataset(
        "fashion_mnist",
        "FashionMnist",
        "Five classes of clothes after pretraining on five others, 32x32; nineteen corruptions",
        FASHION_MNIST,
        FROST_TEXTURES,
    )
    yield _dataset(
        "cifar10",
        "Cifar10",
        "Five classes of CIFAR-10 after pretraining on five others, 32x32; nineteen corruptions",
        CIFAR10,
        FROST_TEXTURES,
    )
    yield _dataset(
        "cifar10_resnet8",
        "Cifar10Resnet8",
        "CIFAR-10 and a ResNet-8 that was trained on it; nineteen corruptions",
        CIFAR10,
        FROST_TEXTURES,
        RESNET8_CIFAR10,
        extra="models",
    )


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield _method("standard", "standard:Standard", "The network that was fine-tuned on clean pictures, as it is: common practice")
    yield _method(
        "specialist",
        "standard:Specialist",
        "A network for each corruption, fine-tuned on it: common practice, the upper bound of robust accuracy",
        privileges=CORRUPTED,
    )
    yield _method(
        "plain_difference",
        "difference:PlainDifference",
        "Specialist less standard network, added to the first layers, a signature without its projection: common practice",
        privileges=CORRUPTED,
    )
    yield _method(
        "random_difference",
        "difference:RandomDifference",
        "Random tensors as long as the plain difference, added to the first layers: a control of common practice",
        privileges=CORRUPTED,
    )
    yield _method(
        "wise_ft",
        "wise_ft:WiseFT",
        "All weights interpolated between standard network and specialist",
        Paper("Robust fine-tuning of zero-shot models", year=2022, arxiv="2109.01903", venue="CVPR"),
        privileges=CORRUPTED,
    )
    yield _method(
        "mixed_corruptions",
        "mixed:MixedCorruptions",
        "One network, fine-tuned on pictures of which each has one of the corruptions: common practice",
        privileges=CORRUPTED,
    )
    yield _method(
        "augmix",
        "augmix:AugMix",
        "Fine-tuned on mixtures of simple operations, with a loss that holds the answers together; knows no corruption",
        Paper("AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty", year=2020, arxiv="1912.02781", venue="ICLR"),
    )
    yield _method(
        "batch_norm_adaptation",
        "batch_norm:BatchNormAdaptation",
        "Statistics of batch normalisation that follow the test batch",
        Paper(
            "Improving robustness against common corruptions by covariate shift adaptation", year=2020, arxiv="2006.16971", venue="NeurIPS"
        ),
        privileges=("test_batch",),
        example_settings=(("normalised", True),),
    )


@hookimpl
def bench_metrics():
    """Give the metrics, on the test set, of the network of each corruption and as means over the corruptions unless they say otherwise."""
    yield _fraction("accuracy", "Accuracy where half of the pictures are corrupted: the mean of clean and robust accuracy")
    yield _fraction("clean_accuracy", "Accuracy on clean pictures (TA)")
    yield _fraction("robust_accuracy", "Accuracy on pictures of the corruption that the network is for (RA)")
    yield _fraction("other_accuracy", "Accuracy on pictures of the other corruptions")
    yield _fraction("worst_accuracy", "Robust accuracy of the corruption where it is lowest")
    yield _fraction("mild_accuracy", "Robust accuracy at severities below the one that training knows")
    yield _metric("stored_kb", "What is kept beside the standard network, for all corruptions together", "lower", (0.0, None), unit="kB")
    yield _metric(
        "shallow_change",
        "Relative change of the first half of the layers, from standard network to specialist, over that of the second half",
        "higher",
        (0.0, None),
    )
    yield _metric("cosine", "Cosine between what is added to the weights for different corruptions", "lower", (-1.0, 1.0))


def _dataset(name: str, class_name: str, summary: str, *raw: RawData, extra: str | None = None) -> Dataset:
    return Dataset(
        name=name,
        task="corruption_robustness",
        entry=f"{__name__}.datasets.pictures:{class_name}",
        summary=summary,
        raw=raw,
        extra=extra,
    )


def _method(
    name: str,
    entry: str,
    summary: str,
    paper: Paper | None = None,
    privileges: tuple[str, ...] = (),
    example_settings: tuple[tuple[str, object], ...] = (),
) -> Method:
    return Method(
        name=name,
        task="corruption_robustness",
        entry=f"{__name__}.baselines.{entry}",
        summary=summary,
        paper=paper,
        privileges=privileges,
        example_settings=example_settings,
    )


def _fraction(name: str, summary: str) -> Metric:
    return _metric(name, summary, "higher", (0.0, 1.0), unit="%")


def _metric(
    name: str, summary: str, direction: Literal["higher", "lower"], bounds: tuple[float | None, float | None], unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="corruption_robustness",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
