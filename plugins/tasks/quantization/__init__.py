"""The task ``quantization``: a pretrained vision transformer with weights and activations of few bits; its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, RawData, Task, hookimpl
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
SUPPLIED = "no package carries its files: the user supplies them, and without them loading says where to get them"
expected_failures = {"cifar100": {"loads_in_a_worker": SUPPLIED}}

OSCILLATIONS = Paper("Overcoming Oscillations in Quantization-Aware Training", year=2022, arxiv="2203.11086", venue="ICML")


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="quantization",
        entry=f"{__name__}.protocol:QuantizationProtocol",
        summary="Give a pretrained vision transformer weights and activations of few bits; judged on a test set as exported in whole numbers",
        verbs=("fit",),
        metrics=(
            "accuracy",
            "nll",
            "agreement",
            "pretrained_accuracy",
            "oscillation_rate",
            "oscillating",
            "near_threshold",
            "bits",
            "size",
            "bit_operations",
        ),
        budget=("epochs",),
        privileges=(("full_precision", "weights and activations of 32 bits"),),
        example="digits",
        example_settings=(("patch", 4), ("width", 8), ("blocks", 1), ("pretrain_epochs", 2), ("calibration", 32)),
        artifact="the pretrained network, which is the teacher too",
        artifact_parameters=(
            "patch",
            "width",
            "blocks",
            "heads",
            "mlp_ratio",
            "batch_size",
            "schedule",
            "warmup",
            "augmentation",
            "pretrain_epochs",
            "pretrain_learning_rate",
            "pretrain_weight_decay",
        ),
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield _dataset("digits", "Digits", "Handwritten digits, 8x8, 10 classes; the fastest", DIGITS)
    yield _dataset("fashion_mnist", "FashionMnist", "Pictures of clothes, 28x28, 10 classes", FASHION_MNIST)
    yield _dataset("cifar10", "Cifar10", "Colour pictures of things and animals, 32x32, 10 classes", CIFAR10)
    yield _dataset("cifar100", "Cifar100", "Colour pictures, 32x32, 100 classes; the user supplies the files")


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield _method(
        "full_precision",
        "full_precision:FullPrecision",
        "The pretrained network trained further without quantisers: common practice",
        privileges=("full_precision",),
    )
    yield _method("min_max", "post_training:MinMax", "Grids over the range of each row, no training: common practice")
    yield _method("mse", "post_training:MSE", "Grids of least squared error, no training: common practice")
    yield _method(
        "gptq",
        "gptq:GPTQ",
        "Weights are rounded column by column, and those to come make up for the error; no training",
        Paper("GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", year=2023, arxiv="2210.17323"),
    )
    yield _method(
        "adaround",
        "adaround:AdaRound",
        "Whether a weight is rounded up or down is learned from the outputs of its layer, without labels",
        Paper("Up or Down? Adaptive Rounding for Post-Training Quantization", year=2020, arxiv="2004.10568", venue="ICML"),
    )
    yield _method(
        "dorefa_pact",
        "dorefa_pact:DoReFaPACT",
        "Weights through a hyperbolic tangent, activations clipped where training finds it best",
        Paper("PACT: Parameterized Clipping Activation for Quantized Neural Networks", year=2018, arxiv="1805.06085"),
    )
    yield _method(
        "lsq",
        "lsq:LSQ",
        "The steps of the grids are learned along with the weights",
        Paper("Learned Step Size Quantization", year=2020, arxiv="1902.08153", venue="ICLR"),
    )
    yield _method("lsq_freezing", "lsq:LSQFreezing", "LSQ in which a weight that oscillates is frozen at its commonest level", OSCILLATIONS)
    yield _method("lsq_dampening", "lsq:LSQDampening", "LSQ in which each weight is pulled to its level", OSCILLATIONS)


@hookimpl
def bench_metrics():
    """Give the metrics, of the quantised network on the test set unless they say otherwise."""
    yield _fraction("accuracy", "Test accuracy")
    yield _metric("nll", "Negative log-likelihood (natural logarithm)", "lower", (0.0, None))
    yield _fraction("agreement", "Share of test samples for which the quantised and the pretrained network name the same class")
    yield _fraction("pretrained_accuracy", "Test accuracy of the pretrained network, which is that of every method")
    yield _metric(
        "oscillation_rate", "Oscillations of a thousand weights a step, over the last quarter of the epochs", "lower", (0.0, 1000.0)
    )
    yield _metric("oscillating", "Share of weights that oscillate at the end of training", "lower", (0.0, 1.0), unit="%")
    yield _metric("near_threshold", "Share of weights within 0.005 steps of a rounding threshold", "lower", (0.0, 1.0), unit="%")
    yield _metric("bits", "Bits of a weight, mean over all layers", "lower", (2.0, 32.0))
    yield _metric("size", "What the network takes", "lower", (0.0, None), unit="kB")
    yield _metric("bit_operations", "Multiplications for one sample, times the bits of both factors", "lower", (0.0, None), unit="M")


def _dataset(name: str, class_name: str, summary: str, *raw: RawData) -> Dataset:
    return Dataset(name=name, task="quantization", entry=f"plugins.data.images.pictures:{class_name}", summary=summary, raw=raw)


def _method(name: str, entry: str, summary: str, paper: Paper | None = None, privileges: tuple[str, ...] = ()) -> Method:
    return Method(
        name=name,
        task="quantization",
        entry=f"{__name__}.baselines.{entry}",
        summary=summary,
        paper=paper,
        privileges=privileges,
    )


def _fraction(name: str, summary: str) -> Metric:
    return _metric(name, summary, "higher", (0.0, 1.0), unit="%")


def _metric(
    name: str, summary: str, direction: Literal["higher", "lower"], bounds: tuple[float | None, float | None], unit: str = ""
) -> Metric:
    return Metric(
        name=name,
        task="quantization",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        unit=unit,
        bounds=bounds,
    )
