"""Sets of small pictures, and what corrupts them."""

from harness import hookimpl
from plugins.data.images.animals import ANIMALS
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.cifar10n import CIFAR10N
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.images.frost_textures import FROST_TEXTURES
from plugins.data.images.mnist import MNIST
from plugins.data.images.optdigits import OPTDIGITS


@hookimpl
def bench_raw_data():
    """Give the picture sets, the older ones too."""
    yield from (ANIMALS, CIFAR10, CIFAR10N, DIGITS, FASHION_MNIST, FROST_TEXTURES, MNIST, OPTDIGITS)
