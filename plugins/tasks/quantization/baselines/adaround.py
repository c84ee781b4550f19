"""AdaRound (Nagel et al. 2020, arXiv:2004.10568): whether a weight is rounded up or down is learned, layer by layer, from the layer's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn.functional import linear

from harness import Search
from plugins.tasks.quantization.baselines.post_training import (
    Rounding,
    inputs_of,
    least_squares_weight,
    outputs_of,
    post_training_copy,
    roundings,
)
from plugins.tasks.quantization.grids import Affine

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantization.protocol import QuantizationView
    from plugins.tasks.quantization.transformer import VisionTransformer

__all__ = [
    "AdaRound",
    "Losses",
    "annealed",
    "hard_weight",
    "initial_logits",
    "rectified_sigmoid",
    "regulariser",
    "rounding_losses",
    "soft_weight",
]

GAMMA, ZETA = -0.1, 1.1  # ends of the stretched sigmoid
HOT, COLD = 20.0, 2.0  # exponents of the regulariser


class Losses(NamedTuple):
    """
    What one step minimises the sum of.

    Args:
        reconstruction: Squared error, summed over outputs, mean over inputs.
        regulariser: With its weight.
    """

    reconstruction: Tensor
    regulariser: Tensor


def rectified_sigmoid(logits: Tensor) -> Tensor:
    """Return h, the share by which a weight is rounded up, in [0, 1]; both ends are reached, without gradient there."""
    return (logits.sigmoid() * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def initial_logits(weight: Tensor, grid: Affine) -> Tensor:
    """Return V with which the soft weight is the weight itself, where the grid reaches that far."""
    fraction = weight / grid.step - (weight / grid.step).floor()

    return -((ZETA - GAMMA) / (fraction - GAMMA) - 1).log()


def soft_weight(weight: Tensor, grid: Affine, share: Tensor) -> Tensor:
    """Return the weight whose entries lie between two levels, by the share h of the upper one."""
    return grid.step * (((weight / grid.step).floor() + share + grid.zero).clamp(0, grid.top) - grid.zero)


def hard_weight(weight: Tensor, grid: Affine, logits: Tensor) -> Tensor:
    """Return the weight that is rounded up where V is at least 0."""
    return soft_weight(weight, grid, (logits >= 0).to(weight.dtype))


def regulariser(share: Tensor, exponent: float) -> Tensor:
    """Return the sum of ``1 - |2 h - 1|^beta``, 0 where every share is 0 or 1."""
    return (1 - (2 * share - 1).abs().pow(exponent)).sum()


def annealed(step: int, steps: int, warmup: float) -> float:
    """Return beta in a step, counted from 1: 20 until the warm-up is over, then linearly to 2."""
    first = warmup * steps
    if step < first:
        return HOT

    return COLD + (HOT - COLD) * (1 - (step - first) / (steps - first))


def rounding_losses(layer_output: Tensor, target: Tensor, logits: Tensor, weight: float, step: int, steps: int, warmup: float) -> Losses:
    """
    Return the two losses of a step, counted from 1; the second is 0 while it warms up.

    Args:
        layer_output: ``(..., out)``, of the soft weight.
        target: Of the same shape.
        logits: V.
        weight: Of the regulariser.
        step: Counted from 1.
        steps: All of them.
        warmup: Share of the steps without regulariser.
    """
    reconstruction = (layer_output - target).square().sum(dim=-1).mean()
    if step < warmup * steps:
        return Losses(reconstruction, logits.new_zeros(()))

    return Losses(reconstruction, weight * regulariser(rectified_sigmoid(logits), annealed(step, steps, warmup)))


@dataclass
class AdaRound:
    """
    The grids of ``mse``; layer by layer, weights are rounded up or down so that outputs behind the activation function are those of the pretrained network.

    Inputs come from the network that is quantised so far. Labels are not used; the steps are the method's own, so that the budget changes nothing.

    Args:
        steps: Of Adam, for each layer.
        rounding_rate: Learning rate of Adam.
        regularisation: Weight of the regulariser, which is summed over weights, beside a squared error that is summed over outputs.
        warmup: Share of the steps without regulariser.
        samples: Calibration samples a step.
    """

    steps: Annotated[int, Ge(1)] = 1000
    rounding_rate: Annotated[float, Gt(0), Search(1e-3, 3e-2, log=True)] = 1e-2
    regularisation: Annotated[float, Ge(0), Search(choices=(1e-3, 1e-2, 1e-1))] = 1e-2
    warmup: Annotated[float, Ge(0), Le(1)] = 0.2
    samples: Annotated[int, Ge(1)] = 32

    def fit(self, data: QuantizationView, run: Run) -> VisionTransformer:
        """Quantise."""
        network = post_training_copy(data, least_squares_weight, search=True)
        order = run.torch_rng("rounding")
        for name, rounding in roundings(network).items():
            inputs = inputs_of(network, name, data.calibration)
            self.choose(rounding, inputs, outputs_of(data.pretrained, name, data.calibration), order)

        return network

    def choose(self, rounding: Rounding, inputs: Tensor, target: Tensor, order: torch.Generator) -> None:
        """
        Round the weight of one layer.

        Args:
            rounding: The layer and its levels.
            inputs: ``(n, ..., in)``.
            target: ``(n, ..., out)``, behind the activation function.
            order: Decides which samples a step takes.
        """
        layer, weight, grid = rounding.layer, rounding.weight.clone(), rounding.grid
        logits = initial_logits(weight, grid).requires_grad_()
        optimizer = torch.optim.Adam([logits], lr=self.rounding_rate)
        for step in range(1, self.steps + 1):
            index = torch.randint(len(inputs), (min(self.samples, len(inputs)),), generator=order).to(inputs.device)
            soft = soft_weight(weight, grid, rectified_sigmoid(logits))
            output = layer.activation(linear(inputs[index], soft, layer.bias))
            losses = rounding_losses(output, target[index], logits, self.regularisation, step, self.steps, self.warmup)
            optimizer.zero_grad()
            (losses.reconstruction + losses.regulariser).backward()
            optimizer.step()
        rounding.weight.copy_(hard_weight(weight, grid, logits.detach()))
