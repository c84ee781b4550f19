"""Data sets of the task ``supervised``: pictures, with as many training labels wrong as a suite asks for."""

from harness import Dataset, RawData, hookimpl
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.images.mnist import MNIST

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
SUPPLIED = "the user supplies the files"
expected_failures = {name: {"loads_in_a_worker": SUPPLIED} for name in ("cifar100", "image_folder")}


@hookimpl
def bench_datasets():
    """Give one spec a data set."""
    yield _spec("digits", "pictures:Digits", "Handwritten digits, 8x8, 10 classes; the fastest", DIGITS)
    yield _spec("fashion_mnist", "pictures:FashionMnist", "Pictures of clothes, 28x28, 10 classes", FASHION_MNIST)
    yield _spec("mnist", "pictures:Mnist", "Handwritten digits, 28x28, 10 classes", MNIST)
    yield _spec("cifar10", "pictures:Cifar10", "Colour pictures of things and animals, 32x32, 10 classes", CIFAR10)
    yield _spec("cifar100", "pictures:Cifar100", "Colour pictures, 32x32, 100 classes; the user supplies the files")
    yield _spec("image_folder", "folder:ImageFolder", "Pictures in a folder a class, such as ImageNet's; the user supplies the files")


def _spec(name: str, entry: str, summary: str, *raw: RawData) -> Dataset:
    return Dataset(name=name, task="supervised", entry=f"{__name__}.{entry}", summary=summary, raw=raw)
