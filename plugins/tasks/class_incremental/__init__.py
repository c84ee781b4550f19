"""The task ``class_incremental``: classes arrive in steps and past data are gone; its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, RawData, Task, hookimpl
from plugins.data.images.animals import ANIMALS
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.images.mnist import MNIST
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.models.efficientnet_lite0 import CIFAR10_FEATURES
from plugins.models.minilm import WIKI_TOPICS_FEATURES

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
SUPPLIED = "no package carries its files: the user supplies them, and without them loading says where to get them"
expected_failures = {"cifar100": {"loads_in_a_worker": SUPPLIED}}

OWN = f"{__name__}.datasets"


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="class_incremental",
        entry=f"{__name__}.protocol:ClassIncrementalProtocol",
        summary="Learn classes that arrive in steps, without past data but for a bounded memory; judged after each step on all classes seen",
        verbs=("learn", "predict"),
        metrics=(
            "accuracy",
            "average_accuracy",
            "average_accuracy_later",
            "forgetting",
            "til_accuracy",
            "old_as_new",
            "new_as_old",
            "experience_identification",
            "added_parameters",
            "memory_samples",
            "norm_ratio",
        ),
        budget=("epochs",),
        privileges=(
            ("memory", "past samples, as many in all as the suite's 'memory' says"),
            ("past", "all past training data"),
        ),
        example="digits",
        example_settings=(("experiences", 2), ("widths", (4, 8, 8))),
        artifact="the base of methods with parts for each experience, trained on the first",
        artifact_parameters=(
            "base_epochs",
            "base_learning_rate",
            "head_learning_rate",
            "experiences",
            "label_smoothing",
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
            "kernel",
            "blocks",
            "heads",
            "dropout",
            "batch_size",
            "optimizer",
            "momentum",
            "weight_decay",
            "schedule",
            "milestones",
            "warmup",
            "augmentation",
            "jitter",
            "precision",
        ),
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield _dataset("digits", "plugins.data.images.pictures:Digits", "Handwritten digits, 8x8, 10 classes; the fastest", DIGITS)
    yield _dataset(
        "digit_pairs", "plugins.data.images.pictures:DigitPairs", "Two handwritten digits side by side, 8x16, 100 classes", DIGITS
    )
    yield _dataset("fashion_mnist", f"{OWN}.pictures:FashionMnist", "Pictures of clothes, 28x28, 10 classes", FASHION_MNIST)
    yield _dataset("cifar10", f"{OWN}.pictures:Cifar10", "Colour pictures of things and animals, 32x32, 10 classes", CIFAR10)
    yield Dataset(
        name="cifar10_features",
        task="class_incremental",
        entry=f"{OWN}.features:Cifar10Features",
        summary="What a pretrained network sees of CIFAR-10, 1,280 features, 10 classes",
        artifacts=(CIFAR10_FEATURES,),
        extra="models",
    )
    yield Dataset(
        name="wiki_topics_features",
        task="class_incremental",
        entry=f"{OWN}.texts:WikiTopicsFeatures",
        summary="What a pretrained encoder says of encyclopedia articles, 384 features, 11 topics",
        artifacts=(WIKI_TOPICS_FEATURES,),
        extra="models",
    )
    yield _dataset("wiki_topics", f"{OWN}.texts:WikiTopics", "Topics of encyclopedia articles, 11 classes, TF-IDF", WIKI_TOPICS)
    yield _dataset(
        "picture_sets",
        f"{OWN}.sets:PictureSets",
        "Grey CIFAR-10, Fashion-MNIST, MNIST and silhouettes of animals, 28x28, one after the other",
        CIFAR10,
        FASHION_MNIST,
        MNIST,
        ANIMALS,
    )
    yield _dataset("cifar100", "plugins.data.images.pictures:Cifar100", "Colour pictures, 32x32, 100 classes; the user supplies the files")


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield _method("finetune", "finetune:Finetune", "New samples alone, as if nothing had been before: common practice, the lower bound")
    yield _method("joint", "joint:Joint", "All samples so far, from the start: common practice, the upper bound", privileges=("past",))
    yield _method(
        "lwf",
        "lwf:LwF",
        "New samples, and what the network before said of them",
        Paper("Learning without Forgetting", year=2016, arxiv="1606.09282"),
    )
    yield _method(
        "ewc",
        "ewc:EWC",
        "Weights are held where they were, each by its Fisher information",
        Paper("Overcoming catastrophic forgetting in neural networks", year=2017, arxiv="1612.00796"),
    )
    yield _method(
        "si",
        "si:SI",
        "Weights are held where they were, each by what its way through training has brought",
        Paper("Continual Learning Through Synaptic Intelligence", year=2017, arxiv="1703.04200"),
    )
    yield _method(
        "er",
        "replay:ER",
        "New samples and exemplars together",
        Paper("On Tiny Episodic Memories in Continual Learning", year=2019, arxiv="1902.10486"),
        privileges=("memory",),
    )
    yield _method(
        "ce_kd",
        "ce_kd:CEKD",
        "Replay beside distillation from the network before, each by its share of the classes",
        Paper("Maintaining Discrimination and Fairness in Class Incremental Learning", year=2020, arxiv="1911.07053", venue="CVPR"),
        privileges=("memory",),
    )
    yield _method(
        "icarl",
        "icarl:ICaRL",
        "Replay and distillation; the class with the nearest mean of exemplars answers",
        Paper("iCaRL: Incremental Classifier and Representation Learning", year=2017, arxiv="1611.07725"),
        privileges=("memory",),
    )
    yield _method(
        "bic",
        "bic:BiC",
        "Replay and distillation, then two numbers for the logits of new classes from samples that were held out",
        Paper("Large Scale Incremental Learning", year=2019, arxiv="1905.13260"),
        privileges=("memory",),
    )
    yield _method(
        "derpp",
        "derpp:DERpp",
        "Replay of logits and of labels from a reservoir",
        Paper("Dark Experience for General Continual Learning: a Strong, Simple Baseline", year=2020, arxiv="2004.07211"),
        privileges=("memory",),
    )
    yield _method(
        "nearest_class_mean",
        "fixed_features:NearestClassMean",
        "The class of the mean of largest cosine, on samples as they are: common practice",
    )
    yield _method(
        "slda",
        "fixed_features:SLDA",
        "Linear discriminant analysis sample by sample, on samples as they are",
        Paper("Lifelong Machine Learning with Deep Streaming Linear Discriminant Analysis", year=2020, arxiv="1909.01520"),
    )
    yield _method(
        "ranpac",
        "fixed_features:RanPAC",
        "Ridge regression over random features, on samples as they are",
        Paper("RanPAC: Random Projections and Pre-trained Models for Continual Learning", year=2023, arxiv="2307.02251"),
    )
    yield _method("head_only", "parts:HeadOnly", "A head for each experience over the network of the first: common practice")
    yield _method("norms_and_head", "parts:NormsAndHead", "A head and normalisations for each experience: common practice")
    yield _method("finetune_heads", "parts:FinetuneHeads", "All weights on each experience, with a head for each: common practice")
    yield _method("independent", "parts:Independent", "A network for each experience: common practice, the upper bound where it is known")


@hookimpl
def bench_metrics():
    """Give the metrics, on the test set and class-incremental unless they say otherwise."""
    yield _fraction("accuracy", "Accuracy after the last experience")
    yield _fraction("average_accuracy", "Accuracy among the classes seen, mean over all experiences")
    yield _fraction("average_accuracy_later", "Accuracy among the classes seen, mean over the experiences without the first")
    yield _metric("forgetting", "How far the accuracy of an experience falls from its best before the last", "lower", (-1.0, 1.0), unit="%")
    yield _metric("backward_transfer", "What the accuracy of an experience gains after it was learned", "higher", (-1.0, 1.0), unit="%")
    yield _fraction("learning_accuracy", "Accuracy on an experience that has just been learned")
    yield _fraction("til_accuracy", "Accuracy after the last experience where a sample's own experience is known (task-incremental)")
    yield _metric("til_forgetting", "Forgetting where a sample's own experience is known", "lower", (-1.0, 1.0), unit="%")
    yield _fraction("experience_identification", "Share of samples whose answer is a class of the right experience")
    yield _metric("old_as_new", "Share of samples of old classes that are taken for a new one", "lower", (0.0, 1.0), unit="%")
    yield _metric("new_as_old", "Share of samples of new classes that are taken for an old one", "lower", (0.0, 1.0), unit="%")
    yield _metric("added_parameters", "Numbers more that are kept with each experience, the memory left aside", "lower", (None, None))
    yield _metric("memory_samples", "Samples in the memory, at most", "lower", (0.0, None))
    yield _metric("memory_mb", "What the memory takes, at most", "lower", (0.0, None), unit="MB")
    yield _metric("norm_ratio", "Mean norm of new rows of the head over that of old ones, behind training", "lower", (0.0, None))
    yield _metric("gamma", "What the new rows are multiplied with", "higher", (0.0, None))


def _dataset(name: str, entry: str, summary: str, *raw: RawData) -> Dataset:
    return Dataset(name=name, task="class_incremental", entry=entry, summary=summary, raw=raw)


def _method(name: str, entry: str, summary: str, paper: Paper | None = None, privileges: tuple[str, ...] = ()) -> Method:
    return Method(
        name=name,
        task="class_incremental",
        entry=f"{__name__}.baselines.{entry}",
        summary=summary,
        paper=paper,
        privileges=privileges,
    )


def _fraction(name: str, summary: str) -> Metric:
    return _metric(name, summary, "higher", (0.0, 1.0), unit="%")


def _metric(
    name: str, summary: str, direction: Literal["higher", "lower"], bounds: tuple[float | None, float | None], unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="class_incremental",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
