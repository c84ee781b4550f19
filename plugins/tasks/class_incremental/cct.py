"""
A compact convolutional transformer (Hassani et al. 2021, arXiv:2104.05704) as ConTraCon has it (arXiv:2308.11357): convolutions make tokens, attention mixes
them, and a learned weight pools them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from harness.training.networks import Network

__all__ = ["Attention", "SequencePooling", "cct"]

MLP_RATIO = 2


def cct(
    sample_shape: torch.Size, n_classes: int, channels: Sequence[int], kernel: int, blocks: int, heads: int, dropout: float = 0.0
) -> Network:
    """
    Build the transformer; its features are of the width of the last convolution.

    Args:
        sample_shape: ``(channels, height, width)``.
        n_classes: Number of outputs.
        channels: Of each convolution of the tokenizer; the last is the width of a token, which ``heads`` divides.
        kernel: Side of these convolutions; a 3x3 max pooling of stride 2 follows each.
        blocks: Of attention and perceptron.
        heads: Of attention.
        dropout: Of attention weights, and of whole branches in the last block; those of the blocks before rise to it linearly.

    Raises:
        ValueError: The samples are no pictures, or the heads do not divide the width.
    """
    if len(sample_shape) != 3:
        raise ValueError(f"model 'cct' needs samples of shape (channels, height, width), got {tuple(sample_shape)}")
    width = channels[-1]
    if width % heads != 0 or width % 2 != 0:
        raise ValueError(f"{heads} heads do not divide tokens of width {width}, which is even")
    tokenizer = _Tokenizer([sample_shape[0], *channels], kernel)
    with torch.no_grad():
        n_tokens = tokenizer.convolutions(torch.zeros(1, *sample_shape)).shape[2:].numel()
    tokenizer.register_buffer("positions", _sinusoids(n_tokens, width), persistent=False)
    rates = [dropout * i / max(blocks - 1, 1) for i in range(blocks)]

    return Network([tokenizer, *(_Block(width, heads, dropout, rate) for rate in rates)], SequencePooling(width), width, n_classes)


class Attention(nn.Module):
    """Attention with projections without biases; rows of ``query``, ``key`` and ``value`` are grouped by head."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.heads, self.dropout = heads, dropout

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``(B, n, width)`` to tokens."""
        q, k, v = (layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        mixed = scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)

        projected: Tensor = self.out(mixed.transpose(1, 2).flatten(2))

        return projected


class SequencePooling(nn.Module):
    """A mean of tokens, by weights that a linear function of each gives."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``(B, n, width)`` to ``(B, width)``."""
        pooled: Tensor = (self.attention(x).softmax(dim=1) * x).sum(dim=1)

        return pooled


class _Tokenizer(nn.Module):
    def __init__(self, channels: Sequence[int], kernel: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n, m in pairwise(channels):
            layers += [
                nn.Conv2d(n, m, kernel, stride=max(1, kernel // 2 - 1), padding=max(1, kernel // 2), bias=False),
                nn.ReLU(),
                nn.MaxPool2d(3, stride=2, padding=1),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.positions: Tensor

    def forward(self, x: Tensor) -> Tensor:
        tokens: Tensor = self.convolutions(x).flatten(2).transpose(1, 2)

        return tokens + self.positions


class _Block(nn.Module):
    """As it is coded there: the second normalisation stands between the two branches, on the path itself."""

    def __init__(self, width: int, heads: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.between = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width))
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = self.between(x + self._dropped(self.attention(self.before(x))))

        return x + self._dropped(self.perceptron(x))

    def _dropped(self, branch: Tensor) -> Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop_path

        return branch * kept / (1 - self.drop_path)


def _sinusoids(n: int, width: int) -> Tensor:
    """Return fixed embeddings of positions, ``(n, width)``: sines in even, cosines in odd columns (Vaswani et al. 2017, arXiv:1706.03762, section 3.5)."""
    angles = torch.arange(n)[:, None] * torch.exp(-math.log(10_000) * torch.arange(0, width, 2) / width)

    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
