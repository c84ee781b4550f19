"""Fashion-MNIST: 70,000 pictures of clothes; :mod:`plugins.data.images.idx` reads it."""

from harness import RawData, Source

__all__ = ["FASHION_MNIST"]

READERS = "plugins.data.images.idx"

# The repository of its makers; its archive has no digest here because it is packed anew on demand, and the content decides.
FASHION_MNIST_CODE = "https://github.com/zalandoresearch/fashion-mnist/archive/b2617bb6d3ffa2e429640350f613e3291e10b141.tar.gz"


FASHION_MNIST = RawData(
    name="fashion_mnist",
    summary="70,000 pictures of clothes, 28x28 grey, 10 classes; 60,000 for training and 10,000 for testing",
    content="a2f23c7cd62349f59c49f224f13e593d51f17474276f4643d0f3cca06663f231",
    licence="MIT",
    citation="H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, 2017, arXiv:1708.07747",
    size_bytes=54_950_000,
    sources=(
        Source("file", "fashion_mnist", f"{READERS}:read_idx"),
        # No digest of the archive: apt checks signatures itself, and distributions that rebuild the package change its bytes but not the pictures.
        Source("apt", "dataset-fashion-mnist", f"{READERS}:read_idx"),
        Source("url", FASHION_MNIST_CODE, f"{READERS}:read_idx"),
    ),
)
