"""Quantised weights as whole numbers with scales: how they are exported, what they take, and products in whole numbers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plugins.tasks.quantization.transformer import FULL_BITS, Layer, Operation, VisionTransformer, bits_of, layers_of

__all__ = ["Cost", "IntegerWeight", "cost_of", "export_integers", "integer_products", "with_integers"]

BYTE = 8


class IntegerWeight(NamedTuple):
    """
    A weight ``step * (levels + offset)``.

    Args:
        levels: ``(out, in)`` int16, of ``2^bits`` values at most.
        step: ``(out, 1)``.
        offset: ``(out, 1)``, a multiple of 1/2.
        bits: Of a level.
    """

    levels: Tensor
    step: Tensor
    offset: Tensor
    bits: int

    def values(self) -> Tensor:
        """Return the weight as numbers of the step's type."""
        return self.step * (self.levels + self.offset)

    def halves(self) -> Tensor:
        """Return the weight in half steps, ``(out, in)`` int32."""
        return (2 * (self.levels + self.offset)).round().to(torch.int32)


class Cost(NamedTuple):
    """
    What a network takes.

    Args:
        bits: Of a weight of a layer, mean over all of them.
        n_bytes: Of the network: levels, their steps and offsets, and all that is not quantised with 4 bytes a number.
        bit_operations: Multiplications for one sample, each times the bits of both factors.
    """

    bits: float
    n_bytes: float
    bit_operations: int


def export_integers(network: nn.Module) -> dict[str, IntegerWeight]:
    """
    Return the weights of all quantised layers by name.

    Raises:
        ValueError: A quantiser uses more levels than its bits allow, or a level that is no whole number.
    """
    exported = {}
    for name, layer in layers_of(network).items():
        if not layer.is_quantized:
            continue
        grid, bits = layer.grid(), bits_of(layer.quantizer)
        if float(grid.levels.max() - grid.levels.min()) >= 1 << bits or not torch.equal(grid.levels, grid.levels.round()):
            raise ValueError(f"the levels of '{name}' are no whole numbers of {bits} bits")
        rows = (len(grid.levels), 1)
        exported[name] = IntegerWeight(grid.levels.to(torch.int16), grid.step.expand(rows), grid.offset.expand(rows), bits)

    return exported


def with_integers(network: VisionTransformer, exported: Mapping[str, IntegerWeight]) -> VisionTransformer:
    """Return a copy that computes with exported weights, whatever its own are."""
    judged = copy.deepcopy(network)
    for name, layer in layers_of(judged).items():
        if name in exported:
            layer.quantizer = _Exported(exported[name])

    return judged


def integer_products(levels: Tensor, weight: IntegerWeight) -> Tensor:
    """
    Return the products of activations and a weight, computed in whole numbers; a step and half a step of each are left out.

    Args:
        levels: ``(..., in)``, whole numbers: the activations over their step, which does not depend on the feature.
        weight: Whose ``step / 2`` each output is still to be multiplied with.

    Returns:
        ``(..., out)`` int32.
    """
    return levels.to(torch.int32) @ weight.halves().T


def cost_of(network: nn.Module) -> Cost:
    """Return what a network takes, as quantised as it is."""
    layers = layers_of(network).values()
    numbers = sum(layer.latent().numel() for layer in layers)
    bits = sum(layer.latent().numel() * bits_of(layer.quantizer) for layer in layers)
    steps = sum(_grid_numbers(layer) for layer in layers)
    held = {id(parameter) for layer in layers for parameter in (*layer.latent_parameters(), *layer.quantizer.parameters())}
    others = sum(parameter.numel() for parameter in network.parameters() if id(parameter) not in held)
    operations = sum(module.bit_operations() for module in network.modules() if isinstance(module, Operation))

    return Cost(bits / numbers, bits / BYTE + (steps + others) * (FULL_BITS // BYTE), operations)


def _grid_numbers(layer: Layer) -> int:
    """Return how many numbers say which values the levels of a weight stand for."""
    if not layer.is_quantized:
        return 0
    grid = layer.grid()

    return grid.step.numel() + (grid.offset.numel() if bool((grid.offset != grid.offset.flatten()[0]).any()) else 0)


class _Exported(nn.Module):
    """Takes the place of a quantiser."""

    def __init__(self, weight: IntegerWeight) -> None:
        super().__init__()
        self.bits = weight.bits
        self.values = weight.values()

    def forward(self, latent: Tensor) -> Tensor:
        return self.values
