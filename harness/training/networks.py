"""
Networks for pictures and vectors: a perceptron, small convolutional networks, residual networks of CIFAR's size, and any model of timm.

Each is a :class:`Network`: stages, one after the other, then a linear head. A technique that looks inside (features, maps) needs no network of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from harness.errors import PluginError

__all__ = ["Activation", "Network", "Output", "cnn", "mlp", "resnet", "timm_network", "wide_resnet"]

Activation = Literal["relu", "leaky_relu"]

LEAK = 0.1  # slope of the leaky ReLU below zero, as semi-supervised learning uses it
CIFAR_WIDTHS = (16, 32, 64)  # channels of the three groups of a residual network for CIFAR


class Output(NamedTuple):
    """
    What a network says of a batch.

    Args:
        logits: ``(B, C)``.
        features: ``(B, d)``, what the linear head reads.
        maps: The output of each stage before the features, ``(B, c, h, w)`` for a convolutional one.
    """

    logits: Tensor
    features: Tensor
    maps: tuple[Tensor, ...]


class Network(nn.Module):
    """
    Stages, a flattening, a linear head.

    Args:
        stages: One after the other; what each gives is a map.
        flatten: Turns the last map into ``(B, n_features)``.
        n_features: Width of the features.
        n_classes: Number of outputs.
    """

    def __init__(self, stages: Sequence[nn.Module], flatten: nn.Module, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.flatten = flatten
        self.head = nn.Linear(n_features, n_classes)
        self.n_features = n_features

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch to logits ``(B, C)``."""
        return self.outputs(x).logits

    def outputs(self, x: Tensor) -> Output:
        """Map a batch to logits, features and maps."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        features = self.flatten(x)

        return Output(self.head(features), features, tuple(maps))


def mlp(sample_shape: torch.Size, n_classes: int, hidden: Sequence[int], activation: Activation = "relu", dropout: float = 0.0) -> Network:
    """
    Build a perceptron.

    Args:
        sample_shape: Shape of one sample, which is flattened.
        n_classes: Number of outputs.
        hidden: Units of each hidden layer; none makes a linear classifier.
        activation: Behind each hidden layer.
        dropout: Rate behind each activation.
    """
    sizes = [sample_shape.numel(), *hidden]
    layers = [nn.Sequential(nn.Linear(n, m), _activation(activation), *_dropout(dropout)) for n, m in pairwise(sizes)]

    return Network([nn.Flatten(), *layers], nn.Identity(), sizes[-1], n_classes)


def cnn(
    sample_shape: torch.Size,
    n_classes: int,
    widths: Sequence[int],
    activation: Activation = "relu",
    normalised: bool = True,
    pooling: bool = True,
    pooled: tuple[int, int] = (1, 1),
    dropout: float = 0.0,
) -> Network:
    """
    Build a plain convolutional network: 3x3 convolutions, batch normalisation, an activation; an average over ``pooled`` fields; a linear head.

    Args:
        sample_shape: ``(channels, height, width)``.
        n_classes: Number of outputs.
        widths: Channels of each convolution.
        activation: Behind each normalisation.
        normalised: Whether there is batch normalisation; without it the convolutions have biases.
        pooling: Whether 2x2 max pooling halves the sides between two convolutions.
        pooled: Rows and columns of fields that are averaged over before the head.
        dropout: Rate before the head.

    Raises:
        ValueError: The samples are no pictures, or too small for so many halvings.
    """
    channels, height, width = _picture(sample_shape, "cnn")
    halvings = len(widths) - 1 if pooling else 0
    if min(height // 2**halvings // pooled[0], width // 2**halvings // pooled[1]) < 1:
        raise ValueError(
            f"a picture of {height}x{width} is too small: {halvings} halvings and {pooled[0]}x{pooled[1]} fields need "
            f"{pooled[0] * 2**halvings}x{pooled[1] * 2**halvings}; use fewer 'widths', or 'pooling: false'"
        )
    stages = []
    for i, (n, m) in enumerate(pairwise([channels, *widths])):
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if pooling and i > 0 else []
        layers.append(nn.Conv2d(n, m, 3, padding=1, bias=not normalised))
        layers += [nn.BatchNorm2d(m)] if normalised else []
        stages.append(nn.Sequential(*layers, _activation(activation)))

    flatten = nn.Sequential(nn.AdaptiveAvgPool2d(pooled), nn.Flatten(), *_dropout(dropout))

    return Network(stages, flatten, widths[-1] * pooled[0] * pooled[1], n_classes)


def resnet(sample_shape: torch.Size, n_classes: int, depth: int = 20, widths: Sequence[int] = CIFAR_WIDTHS) -> Network:
    """
    Build a residual network for small pictures (He et al. 2016, arXiv:1512.03385, section 4.2), with shortcuts of strided subsampling and zero channels.

    Args:
        sample_shape: ``(channels, height, width)``.
        n_classes: Number of outputs.
        depth: ``6 n + 2``: 8, 20, 32, 56, 110.
        widths: Channels of the three groups, of which the stem has the first; or of the stem and the three groups: (32, 64, 128, 256) is the "x4" variant.

    Raises:
        ValueError: The depth or the widths are of another form, or the samples are no pictures.
    """
    channels, _, _ = _picture(sample_shape, "resnet")
    if depth < 8 or (depth - 2) % 6 != 0:
        raise ValueError(f"depth is {depth}; a residual network of this family has 6 n + 2 layers: 8, 14, 20, 32, 44, 56, 110")
    if len(widths) not in (3, 4):
        raise ValueError(f"widths are {tuple(widths)}; a residual network of this family has 3, or 4 with the stem's")
    stem = nn.Sequential(nn.Conv2d(channels, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
    groups = _groups([widths[0], *widths[-3:]], (depth - 2) // 6, _ResidualBlock)

    return Network([stem, *groups], _global_average(), widths[-1], n_classes)


def wide_resnet(
    sample_shape: torch.Size,
    n_classes: int,
    depth: int = 28,
    factor: int = 2,
    activation: Activation = "relu",
    norm_momentum: float = 0.1,
) -> Network:
    """
    Build a wide residual network (Zagoruyko & Komodakis 2016, arXiv:1605.07146): activations before convolutions, no dropout.

    Semi-supervised learning takes leaky ReLUs and a momentum of 0.001 since FixMatch's code, for runs of a million steps.

    Args:
        sample_shape: ``(channels, height, width)``.
        n_classes: Number of outputs.
        depth: ``6 n + 4``: 16, 22, 28, 40.
        factor: Widths are those of CIFAR's residual networks times this.
        activation: Of all layers.
        norm_momentum: What batch normalisation takes over of each batch into its running statistics.

    Raises:
        ValueError: The depth is of another form, or the samples are no pictures.
    """
    channels, _, _ = _picture(sample_shape, "wide_resnet")
    if depth < 10 or (depth - 4) % 6 != 0:
        raise ValueError(f"depth is {depth}; a wide residual network has 6 n + 4 layers: 10, 16, 22, 28, 40")
    widths = [factor * width for width in CIFAR_WIDTHS]
    stem = nn.Conv2d(channels, CIFAR_WIDTHS[0], 3, padding=1, bias=False)

    def block(n: int, m: int, stride: int) -> nn.Module:
        return _PreactivatedBlock(n, m, stride, activation, norm_momentum)

    groups = _groups([CIFAR_WIDTHS[0], *widths], (depth - 4) // 6, block)
    last = nn.Sequential(nn.BatchNorm2d(widths[-1], momentum=norm_momentum), _activation(activation), _global_average())

    return Network([stem, *groups], last, widths[-1], n_classes)


def timm_network(sample_shape: torch.Size, n_classes: int, name: str) -> Network:
    """
    Build a model of timm without pretrained weights: one stage, whose features are what its own head would read.

    Args:
        sample_shape: ``(channels, height, width)``.
        n_classes: Number of outputs.
        name: As timm writes it, for example ``resnet18`` or ``vit_tiny_patch16_224``.

    Raises:
        PluginError: timm cannot be imported here, or knows no such model.
        ValueError: The samples are no pictures.
    """
    channels, height, width = _picture(sample_shape, "timm")
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # beside a torch that torchvision was not built for, its import ends in a RuntimeError
        raise PluginError(
            f"model 'timm' needs timm, and torchvision of the same build as torch: pip install timm torchvision ({error})"
        ) from error
    if not timm.is_model(name):
        near = timm.list_models(f"{name[:6]}*")[:5]
        raise PluginError(f"timm has no model '{name}'" + (f"; near it are {', '.join(near)}" if near else ""))
    options = {"img_size": (height, width)} if "vit" in name or "swin" in name else {}
    model = timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels, **options)

    return Network([model], nn.Identity(), getattr(model, "head_hidden_size", model.num_features), n_classes)


class _ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut without parameters."""

    def __init__(self, n: int, m: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(n, m, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(m),
            nn.ReLU(),
            nn.Conv2d(m, m, 3, padding=1, bias=False),
            nn.BatchNorm2d(m),
        )
        self.stride = stride
        self.missing = m - n

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        before = self.missing // 2
        shortcut = nn.functional.pad(shortcut, (0, 0, 0, 0, before, self.missing - before))

        return torch.relu(self.layers(x) + shortcut)


class _PreactivatedBlock(nn.Module):
    """Two convolutions, each behind its normalisation; a 1x1 convolution on the activated input where the shape changes."""

    def __init__(self, n: int, m: int, stride: int, activation: Activation, norm_momentum: float) -> None:
        super().__init__()
        self.activated = nn.Sequential(nn.BatchNorm2d(n, momentum=norm_momentum), _activation(activation))
        self.layers = nn.Sequential(
            nn.Conv2d(n, m, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(m, momentum=norm_momentum),
            _activation(activation),
            nn.Conv2d(m, m, 3, padding=1, bias=False),
        )
        self.shortcut = nn.Conv2d(n, m, 1, stride=stride, bias=False) if n != m or stride != 1 else None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.activated(x)
        beside: Tensor = x if self.shortcut is None else self.shortcut(activated)

        changed: Tensor = self.layers(activated)

        return beside + changed


def _groups(widths: Sequence[int], n_blocks: int, block: Callable[[int, int, int], nn.Module]) -> list[nn.Module]:
    """Build the groups of blocks; all but the first halve the sides."""
    return [
        nn.Sequential(block(n, m, 1 if i == 0 else 2), *(block(m, m, 1) for _ in range(n_blocks - 1)))
        for i, (n, m) in enumerate(pairwise(widths))
    ]


def _global_average() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _activation(name: Activation) -> nn.Module:
    return nn.ReLU() if name == "relu" else nn.LeakyReLU(LEAK)


def _dropout(rate: float) -> list[nn.Module]:
    return [nn.Dropout(rate)] if rate > 0 else []


def _picture(sample_shape: torch.Size, model: str) -> tuple[int, int, int]:
    if len(sample_shape) != 3:
        raise ValueError(f"model '{model}' needs samples of shape (channels, height, width), got {tuple(sample_shape)}")
    channels, height, width = sample_shape

    return channels, height, width
