"""DoReFa weights (Zhou et al. 2016, arXiv:1606.06160) with PACT activations (Choi et al. 2018, arXiv:1805.06085)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from harness import Search
from plugins.tasks.quantization.grids import ActivationQuantizer, Grid, WeightQuantizer, checked_bits, straight_through
from plugins.tasks.quantization.training import QuantizationTraining, quantized_copy

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantization.protocol import QuantizationView
    from plugins.tasks.quantization.transformer import Place, VisionTransformer

__all__ = ["DoReFaPACT", "DoReFaWeight", "PactActivation", "dorefa", "pact"]


def dorefa(weight: Tensor, bits: int) -> Tensor:
    """
    Return ``2 round(a (2^b - 1)) / (2^b - 1) - 1`` with ``a = tanh(w) / (2 max |tanh w|) + 1/2``, in [-1, 1]; only the rounding is passed straight through.

    A weight of zeros has ``a = 1/2``.
    """
    top = (1 << checked_bits(bits)) - 1
    squashed = _squashed(weight)

    return 2 * straight_through(squashed, (squashed * top).round() / top) - 1


def pact(x: Tensor, alpha: Tensor, bits: int) -> Tensor:
    """
    Return x clamped to ``0 .. alpha`` and rounded to ``2^b`` levels; the gradient of alpha comes from where x is at least alpha.

    Args:
        x: Any shape.
        alpha: Above 0, a scalar.
        bits: b.
    """
    top = (1 << checked_bits(bits)) - 1
    clamped = torch.where(x >= alpha, alpha, x.clamp(min=0))
    rounded = (clamped.detach() * top / alpha.detach()).round() * alpha.detach() / top

    return straight_through(clamped, rounded)


class DoReFaWeight(WeightQuantizer):
    """
    DoReFa, whose levels in [-1, 1] are multiplied with one number for the whole layer.

    Args:
        weight: ``(out, in)``.
        bits: b.
        rescaled: Whether that number is the largest weight before training; it is 1 otherwise, as published.
    """

    def __init__(self, weight: Tensor, bits: int, rescaled: bool) -> None:
        super().__init__(bits)
        self.size: Tensor
        self.register_buffer("size", weight.abs().max() if rescaled else weight.new_ones(()))

    def grid(self, weight: Tensor) -> Grid:
        """Return where a weight lies."""
        top = (1 << self.bits) - 1
        position = _squashed(weight.detach()) * top
        row = weight.new_ones(len(weight), 1)

        return Grid(position, position.round(), 2 / top * self.size * row, -top / 2 * row)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantised weight."""
        return self.size * dorefa(weight, self.bits)


class PactActivation(ActivationQuantizer):
    """
    PACT with one alpha for all values of a place; a place whose values may be below 0 has ``-alpha .. alpha`` in the place of ``0 .. alpha``.

    Args:
        bits: b.
        signed: Whether values may be below 0.
        alpha: Before training.
    """

    def __init__(self, bits: int, signed: bool, alpha: float) -> None:
        super().__init__(bits)
        self.signed = signed
        self.alpha = nn.Parameter(torch.tensor(alpha))

    def start(self, x: Tensor) -> None:
        """Leave alpha where it is."""

    def quantized(self, x: Tensor) -> Tensor:
        """Return the quantised activations."""
        if self.signed:
            return pact(x + self.alpha, 2 * self.alpha, self.bits) - self.alpha

        return pact(x, self.alpha, self.bits)


@dataclass
class DoReFaPACT:
    """
    Train with DoReFa weights and PACT activations.

    Args:
        alpha: Where the clipping of activations begins.
        decay: L2 decay of alpha: half of it times the sum of squares is added to the loss.
        rescaled: Whether the levels of a layer are multiplied with its largest weight before training; published DoReFa leaves them in [-1, 1], for networks
            that are trained so from the start.
    """

    alpha: Annotated[float, Gt(0), Search(1.0, 10.0, log=True)] = 10.0
    decay: Annotated[float, Ge(0), Search(choices=(0.0, 1e-4, 1e-3, 1e-2))] = 1e-3
    rescaled: bool = True

    def fit(self, data: QuantizationView, run: Run) -> VisionTransformer:
        """Quantise and train."""

        def weight(latent: Tensor, bits: int) -> WeightQuantizer:
            return DoReFaWeight(latent, bits, self.rescaled)

        def activation(place: Place, bits: int) -> ActivationQuantizer:
            return PactActivation(bits, place.signed, self.alpha)

        training = QuantizationTraining(network := quantized_copy(data, weight, activation), data, run)
        alphas = [module.alpha for module in network.modules() if isinstance(module, PactActivation)]
        for batch in training.batches():
            decay = sum((alpha.square() for alpha in alphas), torch.zeros(()))
            training.descend(training.loss(batch) + self.decay / 2 * decay)

        return network


def _squashed(weight: Tensor) -> Tensor:
    bounded = weight.tanh()

    return bounded / (2 * bounded.abs().max().clamp(min=torch.finfo(weight.dtype).tiny)) + 0.5
