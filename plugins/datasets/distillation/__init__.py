"""Data sets of the task ``distillation``: pictures of few classes and of many."""

from harness import Dataset, RawData, hookimpl
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
SUPPLIED = "no package carries its files: the user supplies them, and without them loading says where to get them"
expected_failures = {"cifar100": {"loads_in_a_worker": SUPPLIED}}


@hookimpl
def bench_datasets():
    """Give one spec a data set."""
    yield _spec("digits", "Digits", "Handwritten digits, 8x8, 10 classes; the fastest", DIGITS)
    yield _spec("digit_pairs", "DigitPairs", "Two handwritten digits side by side, 8x16, 100 classes", DIGITS)
    yield _spec("fashion_mnist", "FashionMnist", "Pictures of clothes, 28x28, 10 classes", FASHION_MNIST)
    yield _spec("cifar10", "Cifar10", "Colour pictures of things and animals, 32x32, 10 classes", CIFAR10)
    yield _spec("cifar100", "Cifar100", "Colour pictures, 32x32, 100 classes; the user supplies the files")


def _spec(name: str, class_name: str, summary: str, *raw: RawData) -> Dataset:
    return Dataset(name=name, task="distillation", entry=f"plugins.data.images.pictures:{class_name}", summary=summary, raw=raw)
