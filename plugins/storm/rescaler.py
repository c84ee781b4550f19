"""STORM's rescaler: one small head a class maps the features of a sample to its weight."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import batch_norm

__all__ = ["Rescaler", "binarise", "initial_rescaler", "sample_weights"]

INITIAL_STD = 0.02  # of the transformer library that the released code initialises with


class Rescaler(NamedTuple):
    """
    The parameters ω of all heads. A linear layer before a batch norm needs no bias, since the norm subtracts it again.

    Args:
        first: ``(C, F, F)``, the first layer of each head, outputs before inputs.
        second: ``(C, 2, F)``, the second layer of each head.
    """

    first: Tensor
    second: Tensor


def initial_rescaler(n_classes: int, n_features: int, generator: torch.Generator, device: str = "cpu") -> Rescaler:
    """Draw the heads from N(0, 0.02 ** 2), as leaves that require a gradient."""
    shapes = ((n_classes, n_features, n_features), (n_classes, 2, n_features))

    return Rescaler(*((torch.randn(shape, generator=generator) * INITIAL_STD).to(device).requires_grad_() for shape in shapes))


def sample_weights(features: Tensor, labels: Tensor, rescaler: Rescaler) -> Tensor:
    """
    Weigh each sample with the head of its label.

    A head is linear, batch norm, ReLU, linear, batch norm, softmax over two outputs, of which the second is the weight. Every head sees the whole batch,
    so that both norms (biased variance, no learned scale, always in training mode) use its statistics, and the mean logit over the batch is 0:
    no head can weigh everything down.

    Args:
        features: ``(B, F)``, B at least 2.
        labels: ``(B,)``, in ``0 .. C-1``.
        rescaler: C heads.

    Returns:
        ``(B,)``, in (0, 1).
    """
    n_classes, n_features = rescaler.first.shape[:2]
    hidden = batch_norm(features @ rescaler.first.flatten(0, 1).T, None, None, training=True).relu()
    heads = hidden.unflatten(1, (n_classes, n_features)).transpose(0, 1) @ rescaler.second.mT  # (C, B, 2)
    logits = batch_norm(heads.transpose(0, 1).flatten(1), None, None, training=True).unflatten(1, (n_classes, 2))
    own = logits[torch.arange(len(labels), device=labels.device), labels]

    return (own[:, 1] - own[:, 0]).sigmoid()


class _StraightThrough(torch.autograd.Function):
    """A step at 0.5 whose gradient is that of the identity, clipped to [-1, 1]."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor) -> Tensor:  # Any: torch gives the context no public type
        return (weights >= 0.5).to(weights.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clamp(-1, 1)


def binarise(weights: Tensor) -> Tensor:
    """Round weights to 0 or 1 at 0.5, passing each gradient straight through, clipped to [-1, 1], as in the released code."""
    return _StraightThrough.apply(weights)
