"""
ResNet-8 in torch, and its trained weights from the Keras file.

The network is the one that the file describes (MLPerf Tiny, arXiv:2106.07597): a stem and three residual blocks of 16, 32 and 64 channels, each of two
3x3 convolutions; average pooling; a linear layer.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from harness.data import load
from plugins.models.resnet8 import RESNET8_CIFAR10

__all__ = ["ResNet8", "load_resnet8", "normalise", "read_keras"]

BATCH_NORM_EPSILON = 1e-3  # the default of Keras; torch's is 1e-5
TFLITE = "image_classification.tflite"

# Module of torch, layer of Keras. Keras numbers its layers in the order of their making, so a shortcut comes after the block that it leads around.
CONVOLUTIONS = {
    "stem.convolution": "conv2d",
    "blocks.0.first.convolution": "conv2d_1",
    "blocks.0.second.convolution": "conv2d_2",
    "blocks.1.first.convolution": "conv2d_3",
    "blocks.1.second.convolution": "conv2d_4",
    "blocks.1.shortcut": "conv2d_5",
    "blocks.2.first.convolution": "conv2d_6",
    "blocks.2.second.convolution": "conv2d_7",
    "blocks.2.shortcut": "conv2d_8",
}
NORMS = {
    "stem.norm": "batch_normalization",
    "blocks.0.first.norm": "batch_normalization_1",
    "blocks.0.second.norm": "batch_normalization_2",
    "blocks.1.first.norm": "batch_normalization_3",
    "blocks.1.second.norm": "batch_normalization_4",
    "blocks.2.first.norm": "batch_normalization_5",
    "blocks.2.second.norm": "batch_normalization_6",
}
NORM_PARTS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


class _ConvolutionNorm(nn.Module):
    """A 3x3 convolution with batch normalisation."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        # With stride 2, TensorFlow's "same" pads 32 pixels only on the right and below; torch would pad all sides.
        self.padding = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)
        self.convolution = nn.Conv2d(n_in, n_out, 3, stride)
        self.norm = nn.BatchNorm2d(n_out, eps=BATCH_NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, n_in, H, W)`` to ``(N, n_out, H / stride, W / stride)``."""
        out: Tensor = self.norm(self.convolution(pad(x, self.padding)))

        return out


class _Block(nn.Module):
    """Two convolutions around which the input is added; a 1x1 convolution without normalisation fits it where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = _ConvolutionNorm(n_in, n_out, stride)
        self.second = _ConvolutionNorm(n_out, n_out)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(n_in, n_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, n_in, H, W)`` to ``(N, n_out, H / stride, W / stride)``."""
        return relu(self.shortcut(x) + self.second(relu(self.first(x))))


class ResNet8(nn.Module):
    """
    ResNet-8 for pictures of 32x32 pixels.

    Args:
        n_classes: Size of the last layer.
    """

    def __init__(self, n_classes: int = 10) -> None:
        super().__init__()
        self.stem = _ConvolutionNorm(3, 16)
        self.blocks = nn.Sequential(_Block(16, 16, 1), _Block(16, 32, 2), _Block(32, 64, 2))
        self.classifier = nn.Linear(64, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map :func:`normalise`-d pictures ``(N, 3, 32, 32)`` to logits ``(N, n_classes)``."""
        logits: Tensor = self.classifier(self.blocks(relu(self.stem(x))).mean(dim=(2, 3)))

        return logits


def normalise(images: Tensor) -> Tensor:
    """Turn ``(N, 32, 32, 3)`` in 0..255 into the inputs that the weights were trained on: ``(N, 3, 32, 32)`` in [-1, 1)."""
    return (images.permute(0, 3, 1, 2).float() - 128) / 128


def load_resnet8() -> ResNet8:
    """
    Return the trained network in evaluation mode; 82.2 % of the test pictures of CIFAR-10 are classified correctly.

    Raises:
        DataError: Its weights cannot be had.
    """
    model = ResNet8()
    counts = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    weights = {name: torch.from_numpy(np.array(value)) for name, value in load(RESNET8_CIFAR10).items()}
    model.load_state_dict(weights | counts)

    return model.eval()


def read_keras(folder: Path) -> dict[str, np.ndarray | Path]:
    """
    Read the Keras file of the package.

    Returns:
        Float32 arrays by the names of :class:`ResNet8`'s state (kernels turned from ``(H, W, in, out)`` to ``(out, in, H, W)``), and the TensorFlow Lite file.
    """
    import h5py

    with zipfile.ZipFile(next(folder.rglob("image_classification.mltk.zip"))) as archive:
        keras = Path(archive.extract("image_classification.h5", folder))
        tflite = Path(archive.extract(TFLITE, folder))
    values: dict[str, np.ndarray | Path] = {TFLITE: tflite}
    with h5py.File(keras) as file:

        def weight(layer: str, part: str) -> np.ndarray:
            return np.asarray(file["model_weights"][layer][layer][f"{part}:0"])

        for name, layer in CONVOLUTIONS.items():
            values[f"{name}.weight"] = weight(layer, "kernel").transpose(3, 2, 0, 1)
            values[f"{name}.bias"] = weight(layer, "bias")
        for name, layer in NORMS.items():
            values |= {f"{name}.{part}": weight(layer, keras_part) for part, keras_part in NORM_PARTS.items()}
        values["classifier.weight"] = weight("dense", "kernel").T
        values["classifier.bias"] = weight("dense", "bias")

    return values
