"""Post-training quantisation: ranges from the weights and from some activations, no gradient, each weight to its nearest level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from plugins.tasks.quantization.grids import ActivationQuantizer, Affine, AffineActivation, AffineWeight, WeightQuantizer, min_max, shrunk
from plugins.tasks.quantization.training import pretrained_copy, quantize
from plugins.tasks.quantization.transformer import Linear, VisionTransformer, layers_of

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantization.protocol import QuantizationView
    from plugins.tasks.quantization.transformer import Place

__all__ = [
    "MSE",
    "MinMax",
    "Rounding",
    "inputs_of",
    "least_squares_weight",
    "min_max_weight",
    "outputs_of",
    "post_training_copy",
    "roundings",
]


def min_max_weight(weight: Tensor, bits: int, is_symmetric: bool = False) -> WeightQuantizer:
    """Build the grid over the range of each row."""
    return AffineWeight(min_max(weight, bits, is_symmetric), bits)


def least_squares_weight(weight: Tensor, bits: int) -> WeightQuantizer:
    """Build the grid over that part of the range of each row which has the least squared error."""
    return AffineWeight(shrunk(weight, weight.amin(dim=1, keepdim=True), weight.amax(dim=1, keepdim=True), bits), bits)


def post_training_copy(data: QuantizationView, weight: Callable[[Tensor, int], WeightQuantizer], search: bool) -> VisionTransformer:
    """
    Return the pretrained network with fixed grids, those of activations over their range on the calibration samples.

    Args:
        data: The view.
        weight: Of all weights, the edges' too.
        search: Whether ranges of activations are shrunk to the least squared error.
    """

    def activation(place: Place, bits: int) -> ActivationQuantizer:
        return AffineActivation(bits, place.scales, search)

    network = pretrained_copy(data).requires_grad_(False).eval()
    quantize(network, data, weight, activation, weight, activation)

    return network


class Rounding(NamedTuple):
    """
    A layer whose rounding is to be chosen.

    Args:
        layer: With a fixed grid.
        weight: Its latent weight.
        grid: The levels.
    """

    layer: Linear
    weight: Tensor
    grid: Affine


def roundings(network: VisionTransformer) -> dict[str, Rounding]:
    """Return the layers of a copy for post-training quantisation by name, in the order of the network, without the first and the last."""
    return {
        name: Rounding(layer, layer.weight.detach(), layer.quantizer.affine)
        for name, layer in layers_of(network, edges=False).items()
        if isinstance(layer, Linear) and isinstance(layer.quantizer, AffineWeight)
    }


@torch.no_grad()
def inputs_of(network: VisionTransformer, name: str, x: Tensor) -> Tensor:
    """Return what the layer of that name multiplies its weight with, on samples ``x``: ``(n, ..., in)``."""
    return _seen(network, layers_of(network)[name].inputs, x)


@torch.no_grad()
def outputs_of(network: VisionTransformer, name: str, x: Tensor) -> Tensor:
    """Return what comes out of the layer of that name, what follows it included, on samples ``x``: ``(n, ..., out)``."""
    return _seen(network, layers_of(network)[name], x)


def _seen(network: VisionTransformer, module: torch.nn.Module, x: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    network(x)
    hook.remove()

    return seen[0]


@dataclass
class MinMax:
    """
    Grids over whole ranges: common practice. Nothing is trained, so that no pass is counted and the budget changes nothing.

    Args:
        symmetric: Whether grids of weights have 0 in the middle, of ``2^b - 1`` levels then.
    """

    symmetric: bool = False

    def fit(self, data: QuantizationView, run: Run) -> VisionTransformer:
        """Quantise."""
        return post_training_copy(data, partial(min_max_weight, is_symmetric=self.symmetric), search=False)


@dataclass
class MSE:
    """Grids over that part of each range which has the least squared error: common practice. Nothing is trained."""

    def fit(self, data: QuantizationView, run: Run) -> VisionTransformer:
        """Quantise."""
        return post_training_copy(data, least_squares_weight, search=True)
