"""The task ``distillation``: a small classifier trained with the help of a large one, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, RawData, Task, hookimpl
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.models.efficientnet_lite0 import CIFAR10_FEATURES

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
SUPPLIED = "no package carries its files: the user supplies them, and without them loading says where to get them"
expected_failures = {"cifar100": {"loads_in_a_worker": SUPPLIED}}


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="distillation",
        entry=f"{__name__}.protocol:DistillationProtocol",
        summary="Train a small classifier with the help of a large one; judged on a test set",
        verbs=("fit",),
        metrics=("accuracy", "top5", "nll", "ece", "agreement", "kl_to_teacher", "teacher_accuracy"),
        budget=("epochs",),
        example="digits",
        example_settings=(("widths", (4, 8, 8)), ("teacher_widths", (8, 16, 16)), ("teacher_epochs", 2)),
        artifact="the teacher, trained on the labels",
        artifact_parameters=(
            "teacher_model",
            "teacher_widths",
            "teacher_depth",
            "teacher_factor",
            "teacher_timm_model",
            "teacher_pooled",
            "teacher_epochs",
            "teacher_learning_rate",
            "teacher_weight_decay",
            "activation",
            "norm_momentum",
            "normalised",
            "pooling",
            "initialisation",
            "batch_size",
            "schedule",
            "warmup",
            "augmentation",
            "precision",
        ),
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield _dataset("digits", "Digits", "Handwritten digits, 8x8, 10 classes; the fastest", DIGITS)
    yield _dataset("digit_pairs", "DigitPairs", "Two handwritten digits side by side, 8x16, 100 classes", DIGITS)
    yield _dataset("fashion_mnist", "FashionMnist", "Pictures of clothes, 28x28, 10 classes", FASHION_MNIST)
    yield _dataset("cifar10", "Cifar10", "Colour pictures of things and animals, 32x32, 10 classes", CIFAR10)
    yield Dataset(
        name="cifar10_features",
        task="distillation",
        entry=f"{__name__}.datasets.features:Cifar10Features",
        summary="What a pretrained network sees of CIFAR-10, 1,280 features, 10 classes",
        artifacts=(CIFAR10_FEATURES,),
        extra="models",
    )
    yield _dataset("cifar100", "Cifar100", "Colour pictures, 32x32, 100 classes; the user supplies the files")


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield _method(
        "cross_entropy", "cross_entropy:CrossEntropy", "The labels alone, no teacher: common practice", at_once="train_students_alone"
    )
    yield _method(
        "label_smoothing",
        "label_smoothing:LabelSmoothing",
        "Cross entropy to targets that keep a share for every class; no teacher",
        Paper("Rethinking the Inception Architecture for Computer Vision", year=2016, arxiv="1512.00567"),
        at_once="train_students_alone",
    )
    yield _method(
        "kd",
        "kd:KD",
        "Matches the teacher's probabilities, softened by a temperature",
        Paper("Distilling the Knowledge in a Neural Network", year=2015, arxiv="1503.02531"),
    )
    yield _method(
        "dkd",
        "dkd:DKD",
        "Matches what the teacher says of the label and what it says among the other classes, with a weight each",
        Paper("Decoupled Knowledge Distillation", year=2022, arxiv="2203.08679"),
    )
    yield _method(
        "dist",
        "dist:DIST",
        "Correlates with the teacher's probabilities over classes and over samples",
        Paper("Knowledge Distillation from A Stronger Teacher", year=2022, arxiv="2205.10536"),
    )
    yield _method(
        "rkd",
        "rkd:RKD",
        "Matches distances and angles between the features of a batch",
        Paper("Relational Knowledge Distillation", year=2019, arxiv="1904.05068"),
    )
    yield _method(
        "pkt",
        "pkt:PKT",
        "Matches the distribution of each sample's similarities to the others of a batch",
        Paper("Learning Deep Representations with Probabilistic Knowledge Transfer", year=2018, arxiv="1803.10837"),
    )
    yield _method(
        "similarity_preserving",
        "similarity_preserving:SimilarityPreserving",
        "Matches which samples of a batch excite a stage alike",
        Paper("Similarity-Preserving Knowledge Distillation", year=2019, arxiv="1907.09682"),
    )
    yield _method(
        "attention_transfer",
        "attention_transfer:AttentionTransfer",
        "Matches where the stages of both networks are active; convolutional ones only",
        Paper("Paying More Attention to Attention", year=2017, arxiv="1612.03928"),
    )
    yield _method(
        "fitnet",
        "fitnet:FitNet",
        "Foresees a middle stage of the teacher by a regressor on one of the student; convolutional ones only",
        Paper("FitNets: Hints for Thin Deep Nets", year=2015, arxiv="1412.6550"),
        at_once="",  # its regressors are trained beside the student
    )
    yield _method(
        "vid",
        "vid:VID",
        "Foresees the teacher's stages with means and variances; convolutional ones only",
        Paper("Variational Information Distillation for Knowledge Transfer", year=2019, arxiv="1904.05835"),
        at_once="",  # its regressors are trained beside the student
    )
    yield _method(
        "logit_standardisation",
        "logit_standardisation:LogitStandardisation",
        "Matches the teacher's softened probabilities after the logits of both have been brought to mean 0 and deviation 1",
        Paper("Logit Standardization in Knowledge Distillation", year=2024, arxiv="2403.01427", venue="CVPR"),
    )
    yield _method(
        "crd",
        "crd:CRD",
        "Tells the teacher's embedding of a sample from those of samples of other classes, by the student's, and the other way round",
        Paper("Contrastive Representation Distillation", year=2020, arxiv="1910.10699", venue="ICLR"),
        at_once="",  # its embeddings are trained beside the student
    )
    yield _method(
        "reviewkd",
        "reviewkd:ReviewKD",
        "Foresees each stage of the teacher from that stage and all deeper ones of the student; convolutional ones only",
        Paper("Distilling Knowledge via Knowledge Review", year=2021, arxiv="2104.09044", venue="CVPR"),
        at_once="",  # its fusions are trained beside the student
    )


@hookimpl
def bench_metrics():
    """Give the metrics, of the student on the test set unless they say otherwise."""
    yield _fraction("accuracy", "Test accuracy")
    yield _fraction(
        "top5", "Share of test samples whose class is among the five that the student finds likeliest; more than five classes only"
    )
    yield _metric("nll", "Negative log-likelihood (natural logarithm)", "lower", (0.0, None))
    yield _metric("ece", "Expected calibration error, 15 bins", "lower", (0.0, 1.0))
    yield _fraction("agreement", "Share of test samples for which student and teacher name the same class")
    yield _metric("kl_to_teacher", "Divergence of the student's probabilities from the teacher's (natural logarithm)", "lower", (0.0, None))
    yield _fraction("teacher_accuracy", "Test accuracy of the teacher, which is that of every method")


def _dataset(name: str, class_name: str, summary: str, *raw: RawData) -> Dataset:
    return Dataset(name=name, task="distillation", entry=f"plugins.data.images.pictures:{class_name}", summary=summary, raw=raw)


def _method(name: str, entry: str, summary: str, paper: Paper | None = None, at_once: str = "train_students") -> Method:
    return Method(
        name=name,
        task="distillation",
        entry=f"{__name__}.baselines.{entry}",
        summary=summary,
        paper=paper,
        seeds_at_once=f"{__name__}.protocol:{at_once}" if at_once else "",
    )


def _fraction(name: str, summary: str) -> Metric:
    return _metric(name, summary, "higher", (0.0, 1.0), unit="%")


def _metric(
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
