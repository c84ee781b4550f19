"""LSQ (Esser et al. 2020, arXiv:1902.08153), and the two remedies of Nagel et al. 2022 (arXiv:2203.11086) against its oscillations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from harness import Search
from plugins.tasks.quantization.grids import signed_range
from plugins.tasks.quantization.oscillation import MOMENTUM
from plugins.tasks.quantization.training import QuantizationTraining, quantized_copy, train
from plugins.tasks.quantization.transformer import bits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness import Run
    from plugins.tasks.quantization.protocol import QuantizationView
    from plugins.tasks.quantization.transformer import Layer, VisionTransformer

__all__ = ["LSQ", "Freezing", "LSQDampening", "LSQFreezing", "dampening"]


@dataclass
class LSQ:
    """Train with learned steps, of weights and of activations."""

    def fit(self, data: QuantizationView, run: Run) -> VisionTransformer:
        """Quantise and train."""
        return train(quantized_copy(data), data, run)


def dampening(layers: Sequence[Layer]) -> Tensor:
    """Return the sum, over all weights, of the squared distance between the weight, clamped to the grid, and its level, which has no gradient."""
    total = torch.zeros(())
    for layer in layers:
        (low, high), grid = signed_range(bits_of(layer.quantizer)), layer.grid()
        total = total + (grid.step * grid.levels - layer.latent().clamp(grid.step * low, grid.step * high)).square().sum()

    return total


@dataclass
class LSQDampening:
    """
    Minimise the task's loss and :func:`dampening`, which pulls each weight to its level.

    Args:
        strength: Weight of the second.
    """

    strength: Annotated[float, Ge(0), Search(1e-4, 1.0, log=True)] = 1e-2

    def fit(self, data: QuantizationView, run: Run) -> VisionTransformer:
        """Quantise and train."""
        training = QuantizationTraining(network := quantized_copy(data), data, run)
        for batch in training.batches():
            training.descend(training.loss(batch) + self.strength * dampening(training.layers))

        return network


class Freezing:
    """
    Holds weights that have oscillated often at the level where they were most of the time.

    Args:
        layers: With learned steps.
        levels: Of all their weights before the first step, one vector.
        threshold: Frequency of oscillations above which a weight is frozen.
        momentum: Of the running mean of the levels.

    Attributes:
        frozen: Which weights are held, one vector.
    """

    def __init__(self, layers: Sequence[Layer], levels: Tensor, threshold: float, momentum: float = MOMENTUM) -> None:
        self._layers, self._sizes = list(layers), [layer.latent().numel() for layer in layers]
        self._mean, self._held = levels.clone(), levels.clone()
        self._threshold, self._momentum = threshold, momentum
        self.frozen = torch.zeros_like(levels, dtype=torch.bool)

    def update(self, levels: Tensor, frequency: Tensor) -> None:
        """Note the levels behind a step, and freeze what has oscillated too often."""
        self._mean += self._momentum * (levels - self._mean)
        new = (frequency > self._threshold) & ~self.frozen
        self._held = torch.where(new, self._mean.round(), self._held)
        self.frozen |= new
        self.hold()

    def hold(self, *_: object) -> None:
        """Put all frozen weights back on their levels; an optimiser calls this behind its step, with arguments that do not matter."""
        parts = (self.frozen.split(self._sizes), self._held.split(self._sizes))
        with torch.no_grad():
            for layer, frozen, held in zip(self._layers, *parts, strict=True):
                (weight,) = layer.latent_parameters()
                on_level = held.view_as(weight) * layer.grid().step
                weight.copy_(torch.where(frozen.view_as(weight), on_level, weight))


@dataclass
class LSQFreezing:
    """
    LSQ in which a weight that oscillates is frozen: at the level nearest to the running mean of its levels, which the step may still move.

    Args:
        threshold: Frequency of oscillations, running mean of momentum 0.01, above which a weight is frozen.
    """

    threshold: Annotated[float, Gt(0), Le(1), Search(5e-3, 5e-2, log=True)] = 0.02

    def fit(self, data: QuantizationView, run: Run) -> VisionTransformer:
        """Quantise and train."""
        training = QuantizationTraining(network := quantized_copy(data), data, run)
        freezing = Freezing(training.layers, training.levels(), self.threshold)
        training.optimizer.register_step_post_hook(freezing.hold)
        for batch in training.batches():
            training.descend(training.loss(batch))
            freezing.update(training.levels(), training.oscillations.frequency)

        return network
