"""
A factorised distribution of binary weights, by their fields, and what a network of such weights does.

A weight w of the field theta is +1 or -1 with the probabilities ``exp(beta theta w) / (2 cosh(beta theta))``; its mean is ``m = tanh(beta theta)``, its
variance ``1 - m^2``. Sums over many of them are normal (Li et al. 2023, arXiv:2212.02846, sections II and V). All shapes are those of
:func:`torch.nn.functional.linear`: weights ``(out, in)``, samples in rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import linear, softplus

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["annealed_beta", "divergence", "divergence_slope", "log_likelihood", "network_outputs", "sampled_outputs"]

TINY = 1e-30  # keeps the root of a variance that is 0 differentiable, as released


def log_likelihood(fields: Tensor, x: Tensor, y: Tensor, beta: float) -> Tensor:
    """
    Return ``log P(y | x) = log H(-y m.x / sqrt(sum(1 - m^2)))`` of a perceptron, where H(u) = P(N(0, 1) > u).

    Args:
        fields: theta, ``(d,)``.
        x: ``(B, d)`` of +1 and -1.
        y: ``(B,)`` of +1 and -1.
        beta: Scale of the fields.

    Returns:
        ``(B,)``.
    """
    m = torch.tanh(beta * fields)

    return torch.special.log_ndtr(y * (x @ m) / (1 - m**2).sum().sqrt())


def sampled_outputs(fields: Sequence[Tensor], x: Tensor, beta: float, noise: Sequence[Tensor]) -> Tensor:
    """
    Return outputs ``(B, C)`` of a network whose sums are drawn from their normal distributions; hidden units are rectified, there are no biases.

    Args:
        fields: theta of each layer.
        x: ``(B, d)``.
        beta: Scale of the fields.
        noise: For each layer ``(B, out)``, standard normal: one draw a unit and sample.
    """
    for depth, (layer, drawn) in enumerate(zip(fields, noise, strict=True)):
        a = x if depth == 0 else torch.relu(x)
        m = torch.tanh(beta * layer)
        n = layer.shape[1]
        x = linear(a, m) / math.sqrt(n) + drawn * (linear(a**2, 1 - m**2) / n + TINY).sqrt()

    return x


def network_outputs(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """
    Return outputs ``(B, C)`` of a network with given weights, the means or the signs of a distribution.

    Args:
        weights: Of each layer.
        x: ``(B, d)``.
    """
    for depth, layer in enumerate(weights):
        x = linear(x if depth == 0 else torch.relu(x), layer) / math.sqrt(layer.shape[1])

    return x


def divergence(fields: Tensor, prior: Tensor, beta: float) -> Tensor:
    """
    Return the sum over weights of the divergence of their distributions from a prior, in nats: ``m (t - t0) - log cosh t + log cosh t0`` with ``t = beta theta``.

    Args:
        fields: theta, any shape.
        prior: t0, of the same shape; 0 is uniform.
        beta: Scale of the fields.
    """
    t = beta * fields

    return (torch.tanh(t) * (t - prior) - _log_cosh(t) + _log_cosh(prior)).sum()


def divergence_slope(fields: Tensor, prior: Tensor, beta: float) -> Tensor:
    """Return the derivative of :func:`divergence` by the fields, ``beta (1 - m^2) (t - t0)``."""
    t = beta * fields

    return beta * (1 - torch.tanh(t) ** 2) * (t - prior)


def annealed_beta(progress: float, growth: float) -> float:
    """
    Return ``beta = 10 tanh(0.1 + growth progress)``, from 1 on.

    The paper's code counts epochs over all tasks; here the steps count.

    Args:
        progress: Share of all steps of all tasks that is done, in [0, 1].
        growth: 2 for permuted pictures, 1 for two sets of pictures as released; with 0 beta stays at 0.997.
    """
    return 10 * math.tanh(0.1 + growth * progress)


def _log_cosh(t: Tensor) -> Tensor:
    return t.abs() + softplus(-2 * t.abs()) - math.log(2)
