"""The task ``semi_supervised``: few labelled and many unlabelled samples, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, Task, hookimpl
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.models.efficientnet_lite0 import CIFAR10_FEATURES

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
SUPPLIED = "no package carries its files: the user supplies them, and without them loading says where to get them"
expected_failures = {name: {"loads_in_a_worker": SUPPLIED} for name in ("cifar100", "svhn", "stl10")}

FIXMATCH = Paper("FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", year=2020, arxiv="2001.07685")


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="semi_supervised",
        entry=f"{__name__}.protocol:SemiSupervisedProtocol",
        summary="Train a classifier on few labelled and many unlabelled samples; the network of averaged weights is judged on a test set",
        verbs=("fit",),
        metrics=("accuracy", "accuracy_raw", "mask_ratio", "utilisation", "pseudo_label_precision", "guess_accuracy"),
        budget=("steps",),
        example="digits",
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield Dataset(
        name="digit_pairs",
        task="semi_supervised",
        entry=f"{__name__}.datasets.digits:DigitPairs",
        summary="Two handwritten digits side by side, 8x16, 100 classes; hard and fast",
        raw=(DIGITS,),
    )
    yield Dataset(
        name="digits",
        task="semi_supervised",
        entry=f"{__name__}.datasets.digits:Digits",
        summary="Handwritten digits, 8x8, 10 classes; easy and fast",
        raw=(DIGITS,),
    )
    yield Dataset(
        name="fashion_mnist",
        task="semi_supervised",
        entry=f"{__name__}.datasets.pictures:FashionMnist",
        summary="Pictures of clothes, 28x28, 10 classes",
        raw=(FASHION_MNIST,),
    )
    yield Dataset(
        name="cifar10",
        task="semi_supervised",
        entry=f"{__name__}.datasets.pictures:Cifar10",
        summary="Colour pictures of things and animals, 32x32, 10 classes",
        raw=(CIFAR10,),
    )
    yield Dataset(
        name="cifar10_features",
        task="semi_supervised",
        entry=f"{__name__}.datasets.features:Cifar10Features",
        summary="What a pretrained network sees of CIFAR-10, 1,280 features, 10 classes",
        artifacts=(CIFAR10_FEATURES,),
        extra="models",
    )
    yield Dataset(
        name="wiki_topics",
        task="semi_supervised",
        entry=f"{__name__}.datasets.texts:WikiTopics",
        summary="Topics of encyclopedia articles, 11 classes, TF-IDF",
        raw=(WIKI_TOPICS,),
    )
    yield Dataset(
        name="cifar100",
        task="semi_supervised",
        entry=f"{__name__}.datasets.supplied:Cifar100",
        summary="Colour pictures of things and animals, 32x32, 100 classes; the user supplies the files",
    )
    yield Dataset(
        name="svhn",
        task="semi_supervised",
        entry=f"{__name__}.datasets.supplied:Svhn",
        summary="House numbers in the street, 32x32, 10 classes; the user supplies the files",
    )
    yield Dataset(
        name="stl10",
        task="semi_supervised",
        entry=f"{__name__}.datasets.supplied:Stl10",
        summary="Colour pictures, 96x96, 10 classes, 100,000 without any label; the user supplies the files",
    )


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield Method(
        name="supervised_only",
        task="semi_supervised",
        entry=f"{__name__}.baselines.supervised_only:SupervisedOnly",
        summary="Cross entropy on the labelled samples alone: common practice, the floor",
    )
    yield Method(
        name="pseudo_label",
        task="semi_supervised",
        entry=f"{__name__}.baselines.pseudo_label:PseudoLabel",
        summary="The network's own confident predictions as labels",
        paper=Paper(
            "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks",
            year=2013,
            url="https://www.semanticscholar.org/paper/798d9840d2439a0e5d47bcf5d164aa46d5e7dc26",
        ),
    )
    yield Method(
        name="mean_teacher",
        task="semi_supervised",
        entry=f"{__name__}.baselines.mean_teacher:MeanTeacher",
        summary="Agrees, on another view, with the network of averaged weights",
        paper=Paper("Mean teachers are better role models", year=2017, arxiv="1703.01780"),
    )
    yield Method(
        name="fixmatch",
        task="semi_supervised",
        entry=f"{__name__}.baselines.fixmatch:FixMatch",
        summary="Confident predictions on weak views are the labels of strong views",
        paper=FIXMATCH,
    )
    yield Method(
        name="fixmatch_da",
        task="semi_supervised",
        entry=f"{__name__}.baselines.fixmatch:FixMatchDA",
        summary="FixMatch with distribution alignment: predictions are divided by their running mean",
        paper=FIXMATCH,
    )
    yield Method(
        name="flexmatch",
        task="semi_supervised",
        entry=f"{__name__}.baselines.flexmatch:FlexMatch",
        summary="FixMatch with a threshold for each class that grows with what has been learned of it",
        paper=Paper("FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling", year=2021, arxiv="2110.08263"),
    )
    yield Method(
        name="freematch",
        task="semi_supervised",
        entry=f"{__name__}.baselines.freematch:FreeMatch",
        summary="FixMatch with thresholds that follow the network's confidence in all and in each class, and a loss for diverse predictions",
        paper=Paper("FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning", year=2023, arxiv="2205.07246", venue="ICLR"),
    )
    yield Method(
        name="softmatch",
        task="semi_supervised",
        entry=f"{__name__}.baselines.softmatch:SoftMatch",
        summary="FixMatch in which every sample counts, the less the further its confidence is below the average",
        paper=Paper(
            "SoftMatch: Addressing the Quantity-Quality Tradeoff in Semi-supervised Learning", year=2023, arxiv="2301.10921", venue="ICLR"
        ),
    )
    yield Method(
        name="simmatch",
        task="semi_supervised",
        entry=f"{__name__}.baselines.simmatch:SimMatch",
        summary="FixMatch whose views agree on the classes and on which labelled samples are alike",
        paper=Paper("SimMatch: Semi-supervised Learning with Similarity Matching", year=2022, arxiv="2203.06915", venue="CVPR"),
    )


@hookimpl
def bench_metrics():
    """Give the metrics: on the test set, and of what unlabelled samples were taken for in the last 50 steps."""
    yield _share("accuracy", "Test accuracy of the network of averaged weights after the last step")
    yield _share("accuracy_raw", "Test accuracy of the network itself after the last step")
    yield _share("macro_f1", "Mean of the F1 of the classes, by the network of averaged weights")
    yield _metric("nll", "Negative log-likelihood (natural logarithm), by the network of averaged weights", "lower", (0.0, None))
    yield _share("mask_ratio", "Share of the unlabelled samples that a step trained on among all classes")
    yield _share("utilisation", "Share of the unlabelled samples that a step trained on at all")
    yield _share("guess_accuracy", "Accuracy of what all unlabelled samples were taken for, trained on or not")
    yield _share("pseudo_label_precision", "Accuracy of what the samples were taken for that were trained on among all classes")
    yield _share("shrunk_coverage", "Share of the samples trained on among some classes whose true class is one of these")
    yield _share("shrunk_accuracy", "Accuracy of what these were taken for, in a space that holds their true class")


def _share(name: str, summary: str) -> Metric:
    return _metric(name, summary, "higher", (0.0, 1.0), unit="%")


def _metric(
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
