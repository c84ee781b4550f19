"""Sets of small pictures, and what corrupts them."""

from harness import hookimpl
from plugins.datasets.images.animals import ANIMALS
from plugins.datasets.images.cifar10 import CIFAR10
from plugins.datasets.images.cifar10n import CIFAR10N
from plugins.datasets.images.frost_textures import FROST_TEXTURES
from plugins.datasets.images.optdigits import OPTDIGITS
from plugins.datasets.raw import DIGITS, FASHION_MNIST, MNIST


@hookimpl
def bench_raw_data():
    """Give the picture sets, the older ones too."""
    yield from (ANIMALS, CIFAR10, CIFAR10N, DIGITS, FASHION_MNIST, FROST_TEXTURES, MNIST, OPTDIGITS)
