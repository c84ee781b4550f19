"""The task ``noisy_labels``: training labels of which some are wrong, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, RawData, Task, hookimpl
from plugins.data.images.animals import ANIMALS
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.cifar10n import CIFAR10N
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.images.mnist import MNIST
from plugins.data.images.optdigits import OPTDIGITS
from plugins.data.text.sarcasm import SARCASM
from plugins.data.text.storm_spam import SMS_SPAM, YOUTUBE_SPAM
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.models.efficientnet_lite0 import CIFAR10_FEATURES

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
PUBLISHED_SPLIT = "the split is the STORM paper's, and without noise nothing else is drawn"
expected_failures = {
    "sms_spam": {"other_seed_other_data": PUBLISHED_SPLIT},
    "youtube_spam": {"other_seed_other_data": PUBLISHED_SPLIT},
}


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="noisy_labels",
        entry=f"{__name__}.protocol:NoisyLabelsProtocol",
        summary="Train a classifier on labels of which some are wrong; judged on clean test labels",
        verbs=("fit",),
        metrics=(
            "accuracy",
            "accuracy_best",
            "macro_f1",
            "nll",
            "ece",
            "detection_auc",
        ),
        budget=("epochs",),
        privileges=(
            ("clean_validation", "true labels of the validation set"),
            ("noise_rate", "the rate of wrong labels"),
        ),
        example="digits",
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield _dataset(DIGITS, "images:Digits", "Handwritten digits, 8x8, 10 classes; the fastest")
    yield _dataset(FASHION_MNIST, "images:FashionMnist", "Pictures of clothes, 28x28, 10 classes")
    yield _dataset(MNIST, "images:Mnist", "Handwritten digits, 28x28, 10 classes")
    yield _dataset(WIKI_TOPICS, "texts:WikiTopics", "Topics of encyclopedia articles, 11 classes, TF-IDF")
    yield _dataset(SARCASM, "texts:Sarcasm", "Sarcastic among news headlines, 2 classes, TF-IDF")
    yield _dataset(SMS_SPAM, "texts:SmsSpam", "Spam among text messages, 2 classes, TF-IDF, the split of the STORM paper")
    yield _dataset(YOUTUBE_SPAM, "texts:YoutubeSpam", "Spam among video comments, 2 classes, TF-IDF, the split of the STORM paper")
    yield _picture_dataset("cifar10", "Cifar10", "Colour pictures of things and animals, 32x32, 10 classes", CIFAR10)
    yield _picture_dataset("cifar10n", "Cifar10n", "CIFAR-10 with the labels that people gave; not for commercial use", CIFAR10, CIFAR10N)
    yield Dataset(
        name="cifar10n_features",
        task="noisy_labels",
        entry=f"{__name__}.datasets.features:Cifar10nFeatures",
        summary="What a pretrained network sees of CIFAR-10, with the labels that people gave; not for commercial use",
        raw=(CIFAR10N,),
        artifacts=(CIFAR10_FEATURES,),
        extra="models",
    )
    yield _picture_dataset("optdigits", "Optdigits", "Handwritten digits, 8x8, 10 classes, three times as many as digits", OPTDIGITS)
    yield _picture_dataset("animals", "Animals", "Silhouettes of animals, 28x28, 10 classes", ANIMALS)
    yield _picture_dataset("fashion_mnist_lt", "FashionMnistLongTail", "Fashion-MNIST with a long tail", FASHION_MNIST)
    yield _picture_dataset("mnist_lt", "MnistLongTail", "MNIST with a long tail", MNIST)


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield Method(
        name="cross_entropy",
        task="noisy_labels",
        entry=f"{__name__}.baselines.cross_entropy:CrossEntropy",
        seeds_at_once=f"{__name__}.baselines.seeds_at_once:fit_cross_entropy",
        summary="Cross entropy on the labels as given: common practice, no treatment",
    )
    yield Method(
        name="label_smoothing",
        task="noisy_labels",
        entry=f"{__name__}.baselines.label_smoothing:LabelSmoothing",
        seeds_at_once=f"{__name__}.baselines.seeds_at_once:fit_label_smoothing",
        summary="Cross entropy to targets that keep a share for every class",
        paper=Paper("Rethinking the Inception Architecture for Computer Vision", year=2016, arxiv="1512.00567"),
    )
    yield Method(
        name="gce",
        task="noisy_labels",
        entry=f"{__name__}.baselines.gce:GCE",
        seeds_at_once=f"{__name__}.baselines.seeds_at_once:fit_gce",
        summary="Generalised cross entropy, between cross entropy and mean absolute error",
        paper=Paper("Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", year=2018, arxiv="1805.07836"),
    )
    yield Method(
        name="elr",
        task="noisy_labels",
        entry=f"{__name__}.baselines.elr:ELR",
        summary="Early-learning regularisation: holds the network to a running mean of its own predictions",
        paper=Paper("Early-Learning Regularization Prevents Memorization of Noisy Labels", year=2020, arxiv="2007.00151"),
    )
    yield Method(
        name="small_loss",
        task="noisy_labels",
        entry=f"{__name__}.baselines.small_loss:SmallLoss",
        summary="Trains on the samples of smallest loss in each batch: common practice",
        privileges=("noise_rate",),
    )
    yield Method(
        name="coteaching",
        task="noisy_labels",
        entry=f"{__name__}.baselines.coteaching:CoTeaching",
        summary="Two networks, each trained on the samples of smallest loss of the other",
        paper=Paper("Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels", year=2018, arxiv="1804.06872"),
        privileges=("noise_rate",),
    )
    yield Method(
        name="meta_weight_net",
        task="noisy_labels",
        entry=f"{__name__}.baselines.meta_weight_net:MetaWeightNet",
        summary="A small network turns losses into weights, learned on clean samples",
        paper=Paper("Meta-Weight-Net: Learning an Explicit Mapping For Sample Weighting", year=2019, arxiv="1902.07379"),
        privileges=("clean_validation",),
    )
    yield Method(
        name="agra",
        task="noisy_labels",
        entry=f"{__name__}.baselines.agra:AGRA",
        summary="Leaves out samples whose gradient opposes that of a comparison batch",
        paper=Paper(
            "Learning with Noisy Labels by Adaptive Gradient-Based Outlier Removal",
            year=2023,
            arxiv="2306.04502",
        ),
    )
    yield Method(
        name="dividemix",
        task="noisy_labels",
        entry=f"{__name__}.baselines.dividemix:DivideMix",
        summary="Two networks divide the data for each other and learn the doubtful part without its labels",
        paper=Paper("DivideMix: Learning with Noisy Labels as Semi-supervised Learning", year=2020, arxiv="2002.07394"),
    )
    yield Method(
        name="active_passive",
        task="noisy_labels",
        entry=f"{__name__}.baselines.active_passive:ActivePassive",
        summary="Normalised and reverse cross entropy: two losses that symmetric noise does not move, added",
        paper=Paper("Normalized Loss Functions for Deep Learning with Noisy Labels", year=2020, arxiv="2006.13554", venue="ICML"),
    )
    yield Method(
        name="sop",
        task="noisy_labels",
        entry=f"{__name__}.baselines.sop:SOP",
        summary="Learns a sparse correction of each training sample's prediction, so that the network need not fit wrong labels",
        paper=Paper("Robust Training under Label Noise by Over-parameterization", year=2022, arxiv="2202.14026", venue="ICML"),
    )
    yield Method(
        name="elr_plus",
        task="noisy_labels",
        entry=f"{__name__}.baselines.elr_plus:ELRPlus",
        summary="ELR with two networks on mixed samples, each held to what the other's average of weights predicted",
        paper=Paper("Early-Learning Regularization Prevents Memorization of Noisy Labels", year=2020, arxiv="2007.00151", venue="NeurIPS"),
    )
    yield Method(
        name="unicon_selection",
        task="noisy_labels",
        entry=f"{__name__}.baselines.unicon_selection:UniconSelection",
        summary="Cross entropy on UNICON's selection: as many samples of each class, those nearest to their labels",
        paper=Paper(
            "UNICON: Combating Label Noise Through Uniform Selection and Contrastive Learning", year=2022, arxiv="2203.14542", venue="CVPR"
        ),
    )


@hookimpl
def bench_metrics():
    """Give the metrics, on the clean test set unless they say otherwise."""
    yield _fraction("accuracy", "Test accuracy after the last epoch")
    yield _fraction("accuracy_best", "Test accuracy at the best validation epoch")
    yield _fraction("accuracy_single", "Test accuracy after the last epoch of the first network alone, where a method trains several")
    yield _fraction("macro_f1", "Mean of the F1 of the classes after the last epoch")
    yield _fraction("macro_f1_best", "Mean of the F1 of the classes at the best validation epoch")
    yield _fraction("f1", "F1 of class 1 after the last epoch; two classes only")
    yield _fraction("f1_best", "F1 of class 1 at the best validation epoch; two classes only")
    yield _metric("nll", "Negative log-likelihood (natural logarithm) after the last epoch", "lower", (0.0, None))
    yield _metric("ece", "Expected calibration error, 15 bins, after the last epoch", "lower", (0.0, 1.0))
    yield _metric("detection_auc", "ROC AUC of the method's sample weights as detector of clean training labels", "higher", (0.0, 1.0))


def _dataset(raw: RawData, entry: str, summary: str) -> Dataset:
    return Dataset(name=raw.name, task="noisy_labels", entry=f"{__name__}.datasets.{entry}", summary=summary, raw=(raw,))


def _picture_dataset(name: str, class_name: str, summary: str, *raw: RawData) -> Dataset:
    return Dataset(name=name, task="noisy_labels", entry=f"{__name__}.datasets.images:{class_name}", summary=summary, raw=raw)


def _fraction(name: str, summary: str) -> Metric:
    return _metric(name, summary, "higher", (0.0, 1.0), unit="%")


def _metric(
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
