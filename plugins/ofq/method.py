"""Oscillation-free quantisation (Liu et al. 2023, arXiv:2302.02210): the mathematics as pure functions, the quantisers, then the method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn.functional import pad

from harness import Search
from plugins.tasks.quantization.grids import Grid, WeightQuantizer, near_threshold, signed_range, straight_through
from plugins.tasks.quantization.learned_step import LsqWeight
from plugins.tasks.quantization.training import QuantizationTraining, pretrained_copy, quantize
from plugins.tasks.quantization.transformer import Attention, Layer, Operation, Place, VisionTransformer, attend, bits_of, by_head

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantization.protocol import QuantizationView

__all__ = [
    "OFQ",
    "Annealing",
    "JointAttention",
    "JointLayer",
    "StatsQ",
    "join_attention",
    "query_key_product",
    "statistical_scale",
    "statsq",
    "statsq_grid",
]

BELOW_ONE = 1e-6  # keeps the greatest value below the next level


def statistical_scale(weight: Tensor) -> Tensor:
    """
    Return ``s = 2 mean |w|`` for each output channel, of a shape that broadcasts over the weight, without gradient.

    Args:
        weight: ``(out, in)``, or ``(a, c, d)`` with one scale for each of the c.
    """
    shared = (0, 2) if weight.ndim == 3 else (1,)

    return 2 * weight.detach().abs().mean(dim=shared, keepdim=True)


def statsq_grid(weight: Tensor, bits: int) -> Grid:
    """
    Return where a weight lies on the levels ``s (k + 1/2) / n`` for k in ``-n .. n - 1``, ``n = 2^(b-1)``; halves are rounded to even.

    A channel of zeros has the scale 0, and stays zero.
    """
    _, high = signed_range(bits)
    n = high + 1
    scale, weight = statistical_scale(weight), weight.detach()
    position = (weight / scale.clamp(min=torch.finfo(weight.dtype).tiny)).clamp(-1, 1 - BELOW_ONE) * n - 0.5

    return Grid(position, position.round(), scale / n, torch.full_like(scale, 0.5))


def statsq(weight: Tensor, bits: int) -> Tensor:
    """Return the quantised weight, whose gradient is that of the weight: nothing is masked where it was clipped, and nothing goes through the scale."""
    grid = statsq_grid(weight, bits)

    return straight_through(weight, grid.step * (grid.levels + grid.offset))


def query_key_product(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """
    Return ``W_q,h^T W_k,h`` of each head, one below the other, ``(heads * in, in)``.

    Args:
        query: ``(width, in)``, rows grouped by head.
        key: Likewise.
        heads: Which divide the width.
    """
    by_head = query.unflatten(0, (heads, -1)).transpose(1, 2) @ key.unflatten(0, (heads, -1))

    return by_head.flatten(0, 1)


class StatsQ(WeightQuantizer):
    """
    A weight with scales from its own statistics.

    Args:
        weight: Which is looked at anew at each pass, so that this one decides nothing.
        bits: b.
    """

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__(bits)

    def grid(self, weight: Tensor) -> Grid:
        """Return where a weight lies."""
        return statsq_grid(weight, self.bits)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantised weight."""
        return statsq(weight, self.bits)


class JointLayer(Layer):
    """
    One layer for query, key and value, of which the first two are one weight: the product of theirs, head by head, above the value's rows.

    Args:
        attention: Whose weights it takes before they are quantised; biases of query and key are dropped.
    """

    latent_names: ClassVar[tuple[str, ...]] = ("query", "key", "value")

    def __init__(self, attention: Attention) -> None:
        super().__init__(attention.tokens, attention.projection.inputs)
        self.query, self.key, self.value = (nn.Parameter(part.detach().clone()) for part in attention.projection.weight.chunk(3))
        self.bias = nn.Parameter(attention.projection.bias.detach().chunk(3)[2].clone())
        self.heads = attention.heads

    def latent(self) -> Tensor:
        """Return both, ``((heads + 1) * width, width)``."""
        return torch.cat([query_key_product(self.query, self.key, self.heads), self.value])

    def forward(self, x: Tensor) -> Tensor:
        """Map quantised tokens ``(B, N, width)`` to ``(B, N, (heads + 1) * width)``: what meets the same tokens in the scores, then the values."""
        return pad(self.bias, (self.heads * len(self.bias), 0)) + x @ self.quantizer(self.latent()).T


class JointAttention(Operation):
    """
    Attention whose scores are ``x M_h x' / sqrt(d)`` with one quantised weight M for query and key (QKR).

    Args:
        attention: Whose weights and places it takes.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.tokens, self.width, self.heads = attention.tokens, attention.width, attention.heads
        self.joint = JointLayer(attention)
        self.rotated = Place((self.tokens, 1), self.heads * self.width)
        self.values, self.weights, self.out = attention.values, attention.weights, attention.out

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens ``(B, N, width)`` to tokens."""
        x = self.joint.inputs(x)
        rotated, values = self.joint(x).split([self.heads * self.width, self.width], dim=2)
        scores = x[:, None] @ by_head(self.rotated(rotated), self.heads).transpose(2, 3) / math.sqrt(self.width // self.heads)

        return attend(scores, by_head(self.values(values), self.heads), self.weights, self.out)

    def bit_operations(self) -> int:
        """Return those of the two products that have no weight."""
        products = self.tokens**2 * self.width
        of_scores = self.heads * bits_of(self.joint.inputs) * bits_of(self.rotated)

        return products * (of_scores + bits_of(self.weights) * bits_of(self.values))


def join_attention(network: VisionTransformer) -> None:
    """Let every attention of a network that is not quantised yet have one weight for query and key."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Attention):
                setattr(module, name, JointAttention(child))


class Annealing:
    """
    Steps in which only weights near a threshold move (CGA); query and key of a :class:`JointLayer` move all, as in the released code.

    :meth:`freeze` stands before the optimiser's step and :meth:`restore` behind it, since momentum and decay move weights without a gradient too.

    Args:
        layers: Whose latent weights.
        reach: In steps of the grid: a weight that is so near to a threshold is trained.
    """

    def __init__(self, layers: Sequence[Layer], reach: float) -> None:
        self._layers, self._reach = layers, reach
        self._frozen: list[tuple[Tensor, Tensor, Tensor]] = []  # a parameter, where it is frozen, and its values

    def freeze(self) -> None:
        """Take away the gradients of the others, and remember where they are."""
        for layer in self._layers:
            position = layer.grid().position
            parameter = layer.latent_parameters()[-1]  # of a joint layer, the value's
            frozen = ~near_threshold(position[-len(parameter) :], self._reach)
            if parameter.grad is not None:
                parameter.grad[frozen] = 0
            self._frozen.append((parameter, frozen, parameter.detach().clone()))

    def restore(self, *_: object) -> None:
        """Put back what :meth:`freeze` remembered; an optimiser calls this with arguments that do not matter."""
        with torch.no_grad():
            for parameter, frozen, values in self._frozen:
                parameter.copy_(torch.where(frozen, values, parameter))
        self._frozen = []


@dataclass
class OFQ:
    """
    Train with StatsQ, QKR and CGA, each of which can be left out; without all three this is ``lsq``.

    Args:
        statsq: Whether scales of weights come from statistics; they are learned otherwise.
        qkr: Whether query and key weights are quantised as one product.
        cga: Whether the last stretch of training moves undecided weights alone.
        boundary_range: BR, in steps: a weight that is so near to a threshold is undecided.
        annealing: Share of the steps that the last stretch has, at the end of the schedule.
    """

    statsq: bool = True
    qkr: bool = True
    cga: bool = True
    boundary_range: Annotated[float, Ge(0), Search(choices=(1e-3, 5e-3, 2e-2, 0.1))] = 5e-3
    annealing: Annotated[float, Ge(0), Le(1), Search(choices=(0.1, 0.25, 0.4))] = 0.25

    def fit(self, data: QuantizationView, run: Run) -> VisionTransformer:
        """Quantise, train, anneal."""
        network = pretrained_copy(data)
        if self.qkr:
            join_attention(network)
        quantize(network, data, StatsQ if self.statsq else LsqWeight)
        training = QuantizationTraining(network, data, run)
        annealing = Annealing(training.layers, self.boundary_range)
        training.optimizer.register_step_post_hook(annealing.restore)
        for batch in training.batches():
            training.backward(training.loss(batch))
            if self.cga and batch.progress >= 1 - self.annealing:
                annealing.freeze()
            training.step()

        return network
