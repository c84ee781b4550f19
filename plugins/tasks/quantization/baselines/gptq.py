"""GPTQ (Frantar et al. 2023, arXiv:2210.17323): weights are rounded column by column, and those to come make up for the error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from harness import Search
from plugins.tasks.quantization.baselines.post_training import inputs_of, least_squares_weight, post_training_copy, roundings
from plugins.tasks.quantization.grids import Affine, checked_bits

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantization.protocol import QuantizationView
    from plugins.tasks.quantization.transformer import VisionTransformer

__all__ = ["GPTQ", "gptq", "hessian", "released_symmetric"]

BLOCK = 128  # columns; changes nothing but the speed


def hessian(inputs: Tensor, samples: int) -> Tensor:
    """
    Return ``2 / n`` times the sum of ``x x^T``, ``(in, in)``.

    Args:
        inputs: ``(..., in)``.
        samples: n, which changes nothing of what is made of it.
    """
    rows = inputs.flatten(0, -2)

    return 2 / samples * rows.T @ rows


def gptq(
    weight: Tensor,
    hessian: Tensor,
    grid: Callable[[Tensor], Affine],
    damping: float = 0.01,
    act_order: bool = False,
    group: int | None = None,
    block: int = BLOCK,
) -> Tensor:
    """
    Return the rounded weight, ``(out, in)``.

    Args:
        weight: ``(out, in)``.
        hessian: ``(in, in)``, of its inputs; inputs that are always 0 have weights of 0.
        grid: Maps columns ``(out, ...)`` to the levels of each row.
        damping: Added to the diagonal, by the mean of it.
        act_order: Whether columns of large diagonal come first.
        group: Columns that share a grid, which is taken from them as the last block left them; all share one by default.
        block: Columns whose errors reach the columns behind them together.

    Raises:
        ValueError: The damped Hessian is not positive definite.
    """
    weight, hessian = weight.clone(), hessian.clone()
    dead = hessian.diagonal() == 0
    hessian.diagonal()[dead] = 1
    weight[:, dead] = 0
    order = hessian.diagonal().argsort(descending=True) if act_order else torch.arange(len(hessian))
    weight, hessian = weight[:, order], hessian[order][:, order]
    hessian.diagonal().add_(damping * hessian.diagonal().mean())
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if int(failed) > 0:
        raise ValueError("the Hessian of the inputs is singular: take more calibration samples, or more damping")
    upper = torch.linalg.cholesky(torch.cholesky_inverse(factor), upper=True)

    levels = grid(weight)
    rounded = torch.empty_like(weight)
    for first in range(0, weight.shape[1], block):
        last = min(first + block, weight.shape[1])
        own, errors = weight[:, first:last].clone(), torch.empty_like(weight[:, first:last])
        for i, column in enumerate(range(first, last)):
            if group is not None and column % group == 0:
                levels = grid(weight[:, column : column + group])
            rounded[:, column] = levels.nearest(own[:, i : i + 1]).squeeze(1)
            errors[:, i] = (own[:, i] - rounded[:, column]) / upper[column, column]
            own[:, i:] -= errors[:, i : i + 1] * upper[column, column:last]
        weight[:, last:] -= errors @ upper[first:last, last:]

    return rounded[:, order.argsort()]


def released_symmetric(weight: Tensor, bits: int) -> Affine:
    """
    Return the symmetric levels of the released code, of which 0 is the one in the middle for every row.

    A row without a weight below 0 has steps for its range alone, and is clipped at half of it.

    Args:
        weight: ``(out, ...)``.
        bits: b.
    """
    top = (1 << checked_bits(bits)) - 1
    low, largest = weight.amin(dim=1, keepdim=True), weight.abs().amax(dim=1, keepdim=True)
    step = (1 + (low < 0)) * largest / top

    return Affine(torch.where(step > 0, step, 1), torch.full_like(step, (top + 1) // 2), top)


@dataclass
class GPTQ:
    """
    The grids of ``mse``; layer by layer, weights are rounded by :func:`gptq` for inputs from the network that is quantised so far. Nothing is trained.

    Args:
        damping: Of the Hessian, by the mean of its diagonal.
        act_order: Whether columns of large inputs come first.
    """

    damping: Annotated[float, Gt(0), Search(1e-3, 0.3, log=True)] = 0.01
    act_order: bool = False

    def fit(self, data: QuantizationView, run: Run) -> VisionTransformer:
        """Quantise."""
        network = post_training_copy(data, least_squares_weight, search=True)
        for name, rounding in roundings(network).items():
            inputs = inputs_of(network, name, data.calibration)
            curvature, same = hessian(inputs, len(inputs)), partial(_same, rounding.grid)
            rounding.weight.copy_(gptq(rounding.weight, curvature, same, self.damping, self.act_order))

        return network


def _same(grid: Affine, _columns: Tensor) -> Affine:
    return grid
