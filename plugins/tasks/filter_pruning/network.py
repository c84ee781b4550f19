"""Convolutions and linear layers, one behind the other, and the smaller networks that are left where units of theirs are removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

__all__ = ["LayeredNetwork", "prune"]


class LayeredNetwork(nn.Module):
    """
    Layers with a rectifier behind each but the last; behind each convolution but the last the greatest of some pixels stays.

    With three convolutions of kernel 5 on 32 x 32 pixels and two linear layers it is the LeNet5-Mini of Feng et al. 2024 (arXiv:2412.00143).

    Args:
        sample_shape: ``(channels, height, width)``.
        n_classes: Outputs of the last layer.
        widths: Units of all layers but the last: filters of the convolutions, then units of linear layers.
        kernels: Side of the kernel of each convolution; as many as there are convolutions.
        reduction: Of each side of the pictures, by means over squares.
        pooling: Side of the squares behind convolutions; 1 leaves them out.

    Raises:
        ValueError: There are more kernels than widths, or a convolution has fewer pixels than its kernel.
    """

    def __init__(
        self,
        sample_shape: Sequence[int],
        n_classes: int,
        widths: Sequence[int],
        kernels: Sequence[int] = (),
        reduction: int = 1,
        pooling: int = 2,
    ) -> None:
        super().__init__()
        if len(kernels) > len(widths):
            raise ValueError(f"{len(kernels)} kernels for {len(widths)} widths: each convolution has one of both")
        self.sample_shape, self.n_classes, self.widths, self.kernels = tuple(sample_shape), n_classes, tuple(widths), tuple(kernels)
        self.reduction, self.pooling = reduction, pooling
        n, height, width = sample_shape[0], sample_shape[1] // reduction, sample_shape[2] // reduction
        layers: list[nn.Conv2d | nn.Linear] = []
        for place, (m, kernel) in enumerate(zip(widths, kernels, strict=False)):
            if min(height, width) < kernel:
                raise ValueError(f"layer {place + 1} has a kernel of {kernel} x {kernel} for pictures of {height} x {width}")
            layers.append(nn.Conv2d(n, m, kernel))
            pooled = pooling if place + 1 < len(kernels) else 1
            n, height, width = m, (height - kernel + 1) // pooled, (width - kernel + 1) // pooled
        n *= height * width
        for m in (*widths[len(kernels) :], n_classes):
            layers.append(nn.Linear(n, m))
            n = m
        self.layers = nn.ModuleList(layers)

    def layer(self, place: int) -> nn.Conv2d | nn.Linear:
        """Return a layer by its number, from 0."""
        found = self.layers[place]
        assert isinstance(found, nn.Conv2d | nn.Linear)

        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(B, C)`` of ``x``, ``(B, channels, height, width)``."""
        return self.activations(x)[-1]

    def activations(self, x: Tensor) -> list[Tensor]:
        """Return what each layer gives, behind its rectifier and before pooling: ``(B, units, height, width)`` or ``(B, units)``, the logits last."""
        found = []
        x = avg_pool2d(x, self.reduction) if self.reduction > 1 else x
        for place in range(len(self.layers)):
            layer = self.layer(place)
            if isinstance(layer, nn.Linear):
                x = x.flatten(1)
            x = layer(x)
            if place + 1 < len(self.layers):
                x = relu(x)
            found.append(x)
            if place + 1 < len(self.kernels):
                x = max_pool2d(x, self.pooling)

        return found


def prune(network: LayeredNetwork, removed: Mapping[int, Sequence[int]]) -> LayeredNetwork:
    """
    Return the smaller network without some units: their rows, their biases, and what the next layer makes of them.

    Args:
        network: Which; it stays as it is.
        removed: By the number of a layer, from 0, the units that go; the last layer keeps its own.

    Raises:
        ValueError: A layer would have no unit left.
    """
    kept = {place: [unit for unit in range(width) if unit not in set(removed.get(place, ()))] for place, width in enumerate(network.widths)}
    empty = [place for place, units in kept.items() if not units]
    if empty:
        raise ValueError(f"layer {empty[0] + 1} would have no unit left of {network.widths[empty[0]]}")
    small = LayeredNetwork(
        network.sample_shape,
        network.n_classes,
        [len(units) for units in kept.values()],
        network.kernels,
        network.reduction,
        network.pooling,
    ).to(network.layer(0).weight)
    with torch.no_grad():
        for place in range(len(network.layers)):
            source = network.layer(place)
            rows = kept.get(place, slice(None))
            weight = source.weight[rows]
            if place > 0:  # a linear layer behind a convolution has an input for each pixel of a filter
                by_unit = weight.reshape(len(weight), network.widths[place - 1], -1)[:, kept[place - 1]]
                weight = by_unit.reshape(len(weight), -1, *weight.shape[2:])
            small.layer(place).weight.copy_(weight)
            small.layer(place).bias.copy_(source.bias[rows])  # type: ignore[union-attr,index]  # each layer has one

    return small
