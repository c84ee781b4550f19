"""Data sets of the task ``semi_supervised``: pictures and texts of which few have a label."""

from harness import Dataset, hookimpl
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.text.wiki_topics import WIKI_TOPICS

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
SUPPLIED = "no package carries its files: the user supplies them, and without them loading says where to get them"
expected_failures = {name: {"loads_in_a_worker": SUPPLIED} for name in ("cifar100", "svhn", "stl10")}


@hookimpl
def bench_datasets():
    """Give one spec a data set."""
    yield Dataset(
        name="digit_pairs",
        task="semi_supervised",
        entry=f"{__name__}.digits:DigitPairs",
        summary="Two handwritten digits side by side, 8x16, 100 classes; hard and fast",
        raw=(DIGITS,),
    )
    yield Dataset(
        name="digits",
        task="semi_supervised",
        entry=f"{__name__}.digits:Digits",
        summary="Handwritten digits, 8x8, 10 classes; easy and fast",
        raw=(DIGITS,),
    )
    yield Dataset(
        name="fashion_mnist",
        task="semi_supervised",
        entry=f"{__name__}.pictures:FashionMnist",
        summary="Pictures of clothes, 28x28, 10 classes",
        raw=(FASHION_MNIST,),
    )
    yield Dataset(
        name="cifar10",
        task="semi_supervised",
        entry=f"{__name__}.pictures:Cifar10",
        summary="Colour pictures of things and animals, 32x32, 10 classes",
        raw=(CIFAR10,),
    )
    yield Dataset(
        name="wiki_topics",
        task="semi_supervised",
        entry=f"{__name__}.texts:WikiTopics",
        summary="Topics of encyclopedia articles, 11 classes, TF-IDF",
        raw=(WIKI_TOPICS,),
    )
    yield Dataset(
        name="cifar100",
        task="semi_supervised",
        entry=f"{__name__}.supplied:Cifar100",
        summary="Colour pictures of things and animals, 32x32, 100 classes; the user supplies the files",
    )
    yield Dataset(
        name="svhn",
        task="semi_supervised",
        entry=f"{__name__}.supplied:Svhn",
        summary="House numbers in the street, 32x32, 10 classes; the user supplies the files",
    )
    yield Dataset(
        name="stl10",
        task="semi_supervised",
        entry=f"{__name__}.supplied:Stl10",
        summary="Colour pictures, 96x96, 10 classes, 100,000 without any label; the user supplies the files",
    )
