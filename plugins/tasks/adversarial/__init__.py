"""The task ``adversarial``: classifiers whose answers stand small changes of each pixel, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, RawData, Task, hookimpl
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="adversarial",
        entry=f"{__name__}.protocol:AdversarialProtocol",
        summary="Train a classifier whose answers stand small changes of each pixel; judged under attacks that no method has seen",
        verbs=("fit",),
        metrics=(
            "robust_accuracy",
            "accuracy",
            "robust_accuracy_pgd",
            "robust_accuracy_cw",
            "robust_accuracy_aa",
            "masking_gap",
            "worst_class",
            "tail_30",
            "train_robust_accuracy",
        ),
        budget=("epochs",),
        example="digits",
        example_settings=(("widths", (16,)), ("attack_steps", 2), ("judge_steps", 5), ("judge_targets", 2), ("n_judged_train", 50)),
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield _dataset(DIGITS, "Digits", "Handwritten digits, 8x8, 10 classes; the fastest")
    yield _dataset(FASHION_MNIST, "FashionMnist", "Pictures of clothes, 14x14 or 28x28, 10 classes")
    yield _dataset(CIFAR10, "Cifar10", "Colour pictures of things and animals, 16x16 or 32x32, 10 classes")


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield _method("natural", "natural:Natural", "Pictures as they are, classes weighted or not: common practice, the lower bound")
    yield _method(
        "pgd_at",
        "pgd_at:PGDAT",
        "What an attack makes of each batch, classes weighted or not",
        Paper("Towards Deep Learning Models Resistant to Adversarial Attacks", year=2018, arxiv="1706.06083", venue="ICLR"),
    )
    yield _method(
        "trades",
        "trades:TRADES",
        "Labels on pictures as they are, and the same answer wherever an attack moves them",
        Paper("Theoretically Principled Trade-off between Robustness and Accuracy", year=2019, arxiv="1901.08573", venue="ICML"),
    )
    yield _method(
        "mart",
        "mart:MART",
        "PGD-AT with a second margin, and more of TRADES's term on what is misclassified anyway",
        Paper("Improving Adversarial Robustness Requires Revisiting Misclassified Examples", year=2020, venue="ICLR"),
    )
    yield _method(
        "gairat",
        "gairat:GAIRAT",
        "PGD-AT in which samples weigh more the fewer steps an attack on them needs",
        Paper("Geometry-aware Instance-reweighted Adversarial Training", year=2021, arxiv="2010.01736", venue="ICLR"),
    )
    mail = Paper("Probabilistic Margins for Instance Reweighting in Adversarial Training", year=2021, arxiv="2106.07904", venue="NeurIPS")
    yield _method("mail_at", "mail:MAILAT", "PGD-AT in which samples weigh more the smaller their margin of probability", mail)
    yield _method("mail_trades", "mail:MAILTRADES", "TRADES, its divergence weighted by margins of probability", mail)
    yield _method(
        "awp",
        "awp:AWP",
        "PGD-AT or TRADES at weights that have been moved to where the loss is higher",
        Paper("Adversarial Weight Perturbation Helps Robust Generalization", year=2020, arxiv="2004.05884", venue="NeurIPS"),
    )


@hookimpl
def bench_metrics():
    """Give the metrics, on test pictures unless they say otherwise; "robust" means under PGD-20, CW-20 and AA-lite together."""
    yield _fraction("accuracy", "Accuracy on pictures as they are")
    yield _fraction("robust_accuracy", "Accuracy under all attacks together")
    yield _fraction("robust_accuracy_pgd", "Accuracy under PGD-20 on cross entropy")
    yield _fraction("robust_accuracy_cw", "Accuracy under PGD-20 on the CW margin")
    yield _fraction("robust_accuracy_aa", "Accuracy under AA-lite: APGD on cross entropy, then targeted on the difference of logits ratio")
    yield _metric(
        "masking_gap", "By how much PGD-20 overstates AA-lite; above 5 points gradients are masked", "lower", (-1.0, 1.0), unit="%"
    )
    yield _fraction("robust_balanced", "Robust accuracy, mean over classes")
    yield _fraction("worst_class", "Robust accuracy of the class where it is lowest")
    yield _fraction("tail_30", "Robust accuracy of the 30 % of classes where it is lowest (RA-Tail-30)")
    yield _fraction("worst_class_pgd", "The worst class's accuracy under PGD-20 alone")
    yield _fraction("tail_30_pgd", "RA-Tail-30 under PGD-20 alone")
    yield _fraction("accuracy_frequent", "Accuracy of frequent classes on pictures as they are")
    yield _fraction("accuracy_rare", "Accuracy of rare classes on pictures as they are")
    yield _fraction("robust_frequent", "Robust accuracy of frequent classes")
    yield _fraction("robust_rare", "Robust accuracy of rare classes")
    yield _fraction("train_accuracy", "Accuracy on training pictures as they are")
    yield _fraction("train_robust_accuracy", "Accuracy on training pictures under PGD-20")
    yield _fraction("effective_share", "Effective sample size of a batch's weights in the last epoch, as a share of the batch")


def _dataset(raw: RawData, name: str, summary: str) -> Dataset:
    return Dataset(name=raw.name, task="adversarial", entry=f"{__name__}.datasets.pictures:{name}", summary=summary, raw=(raw,))


def _method(name: str, entry: str, summary: str, paper: Paper | None = None) -> Method:
    return Method(name=name, task="adversarial", entry=f"{__name__}.baselines.{entry}", summary=summary, paper=paper)


def _fraction(name: str, summary: str) -> Metric:
    return _metric(name, summary, "higher", (0.0, 1.0), unit="%")


def _metric(
    name: str, summary: str, direction: Literal["higher", "lower"], bounds: tuple[float | None, float | None], unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="adversarial",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
