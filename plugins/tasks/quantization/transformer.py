"""
A vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) that can be quantised: each layer has a place for a quantiser of its weight, and each input of
a product has a place for one of activations.

Pictures become patches, blocks have their normalisations before the branches, tokens are averaged behind the last one. Query, key and value are the three
thirds of one layer, so that their common input is quantised once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from harness.training.networks import Network
from plugins.tasks.quantization.grids import Grid, WeightQuantizer

__all__ = [
    "FULL_BITS",
    "Attention",
    "Layer",
    "Linear",
    "Operation",
    "Place",
    "VisionTransformer",
    "attend",
    "bits_of",
    "by_head",
    "layers_of",
]

FULL_BITS = 32  # of a number that is not quantised


class Place(nn.Identity):
    """
    Where activations may be quantised.

    Args:
        scales: Shape of the scales, which broadcasts over the activations: ``(N, 1)`` is one for each token, ``(F,)`` one for each feature.
        channels: Width of the last axis, where it counts features; ``None`` for attention weights.
        signed: Whether values may be below 0; those behind a GELU count as if they could not.
        edge: Whether it belongs to the first or the last layer.
    """

    def __init__(self, scales: Sequence[int], channels: int | None, signed: bool = True, edge: bool = False) -> None:
        super().__init__()
        self.scales, self.channels, self.signed, self.edge = tuple(scales), channels, signed, edge


class Operation(nn.Module, ABC):
    """Something that multiplies."""

    @abstractmethod
    def bit_operations(self) -> int:
        """Return, for one sample, the number of its multiplications, each times the bits of both factors."""


class Layer(Operation):
    """
    Products with a weight.

    Args:
        tokens: How many vectors of one sample it is applied to.
        inputs: Of what it multiplies the weight with; a quantiser may take its place.
        edge: Whether it is the first or the last layer.
    """

    latent_names: ClassVar[tuple[str, ...]] = ("weight",)  # parameters that the latent weight is made of

    def __init__(self, tokens: int, inputs: nn.Module, edge: bool = False) -> None:
        super().__init__()
        self.tokens, self.inputs, self.edge = tokens, inputs, edge
        self.quantizer: nn.Module = nn.Identity()

    @abstractmethod
    def latent(self) -> Tensor:
        """Return the weight before it is quantised, ``(out, in)``."""

    @property
    def is_quantized(self) -> bool:
        """Whether there is a quantiser of the weight."""
        return isinstance(self.quantizer, WeightQuantizer)

    def grid(self) -> Grid:
        """
        Return where the latent weight lies.

        Raises:
            TypeError: The weight has no quantiser.
        """
        if not isinstance(self.quantizer, WeightQuantizer):
            raise TypeError("the weight of this layer has no quantiser")
        with torch.no_grad():
            return self.quantizer.grid(self.latent())

    def latent_parameters(self) -> list[nn.Parameter]:
        """Return what the latent weight is made of."""
        return [getattr(self, name) for name in self.latent_names]

    def bit_operations(self) -> int:
        """Return ``tokens * out * in``, times the bits of weight and input."""
        return self.tokens * self.latent().numel() * bits_of(self.quantizer) * bits_of(self.inputs)


class Linear(Layer):
    """
    A linear layer, and what follows it.

    Args:
        n: Width of its input.
        m: Width of its output.
        tokens: As in :class:`Layer`.
        signed: Whether its input may be below 0.
        edge: As in :class:`Layer`.
        activation: Behind it.
    """

    def __init__(self, n: int, m: int, tokens: int, signed: bool = True, edge: bool = False, activation: nn.Module | None = None) -> None:
        super().__init__(tokens, Place((tokens, 1) if tokens > 1 else (1,), n, signed, edge), edge)
        drawn = nn.Linear(n, m)
        self.weight, self.bias = drawn.weight, drawn.bias
        self.activation = nn.Identity() if activation is None else activation

    def latent(self) -> Tensor:
        """Return the weight before it is quantised, ``(out, in)``."""
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., n)`` to ``(..., m)``."""
        activated: Tensor = self.activation(linear(self.inputs(x), self.quantizer(self.weight), self.bias))

        return activated


class Attention(Operation):
    """
    Self-attention; values have a scale for each feature, all else one for each token, so that each product has whole numbers inside.

    Args:
        width: Of a token.
        heads: Which divide it.
        tokens: N.
    """

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.projection = Linear(width, 3 * width, tokens)
        self.queries, self.keys = (Place((tokens, 1), width) for _ in range(2))
        self.values = Place((width,), width)
        self.weights = Place((tokens, 1), None, signed=False)
        self.out = Linear(width, width, tokens)
        self.width, self.heads, self.tokens = width, heads, tokens

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``(B, N, width)`` to tokens."""
        query, key, value = self.projection(x).chunk(3, dim=2)
        q, k, v = (by_head(part, self.heads) for part in (self.queries(query), self.keys(key), self.values(value)))
        scores = q @ k.transpose(2, 3) / math.sqrt(self.width // self.heads)

        return attend(scores, v, self.weights, self.out)

    def bit_operations(self) -> int:
        """Return those of the two products that have no weight."""
        products = self.tokens**2 * self.width

        return products * (bits_of(self.queries) * bits_of(self.keys) + bits_of(self.weights) * bits_of(self.values))


def by_head(x: Tensor, heads: int) -> Tensor:
    """Turn ``(B, N, width)`` into ``(B, heads, N, width / heads)``."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def attend(scores: Tensor, values: Tensor, weights: nn.Module, out: nn.Module) -> Tensor:
    """
    Mix values by the softmax of scores, and bring the heads together.

    Args:
        scores: ``(B, heads, N, N)``.
        values: ``(B, heads, N, d)``.
        weights: Of the attention weights; a quantiser or none.
        out: Maps ``(B, N, heads * d)`` to tokens.
    """
    mixed: Tensor = out((weights(scores.softmax(dim=3)) @ values).transpose(1, 2).flatten(2))

    return mixed


class VisionTransformer(Network):
    """
    Build the transformer with torch's initial weights for layers, and positions of deviation 0.02.

    Args:
        sample_shape: ``(channels, height, width)``.
        n_classes: Number of outputs.
        patch: Side of a patch, which divides height and width.
        width: Of a token, which ``heads`` divides.
        blocks: Of attention and perceptron.
        heads: Of attention.
        mlp_ratio: Width of the hidden layer of each perceptron, by that of a token.

    Raises:
        ValueError: The samples are no pictures, patches do not cover them, or the heads do not divide the width.
    """

    def __init__(self, sample_shape: torch.Size, n_classes: int, patch: int, width: int, blocks: int, heads: int, mlp_ratio: int) -> None:
        if len(sample_shape) != 3:
            raise ValueError(f"a vision transformer needs samples of shape (channels, height, width), got {tuple(sample_shape)}")
        channels, *sides = sample_shape
        if any(side % patch != 0 for side in sides):
            raise ValueError(f"patches of side {patch} do not cover pictures of {sides[0]}x{sides[1]}: take a 'patch' that divides both")
        if width % heads != 0:
            raise ValueError(f"{heads} heads do not divide tokens of width {width}")
        tokens = math.prod(side // patch for side in sides)
        stages = [_Embedding(channels, patch, width, tokens), *(_Block(width, heads, mlp_ratio, tokens) for _ in range(blocks))]
        super().__init__(stages, _Pooling(width), width, n_classes)
        self.head: Linear = Linear(width, n_classes, 1, edge=True)  # type: ignore[assignment]  # with places for quantisers


class _Embedding(nn.Module):
    def __init__(self, channels: int, patch: int, width: int, tokens: int) -> None:
        super().__init__()
        self.patches = nn.Unfold(patch, stride=patch)
        self.projection = Linear(channels * patch**2, width, tokens, edge=True)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.projection(self.patches(x).transpose(1, 2))

        return tokens + self.positions


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, mlp_ratio: int, tokens: int) -> None:
        super().__init__()
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, tokens)
        self.perceptron = nn.Sequential(
            Linear(width, mlp_ratio * width, tokens, activation=nn.GELU()), Linear(mlp_ratio * width, width, tokens, signed=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before_attention(x))
        changed: Tensor = x + self.perceptron(self.before_perceptron(x))

        return changed


class _Pooling(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.norm(x).mean(dim=1)

        return pooled


def layers_of(network: nn.Module, edges: bool = True) -> dict[str, Layer]:
    """Return the layers by name, in the order of the network; without the first and the last where ``edges`` is false."""
    return {name: module for name, module in network.named_modules() if isinstance(module, Layer) and (edges or not module.edge)}


def bits_of(quantizer: nn.Module) -> int:
    """Return the bits of what stands in a place, 32 where nothing is quantised."""
    return int(getattr(quantizer, "bits", FULL_BITS))
