"""A fixed network for tests and benchmarks of attacks: ridge regression over random features of digits, the same on every machine up to rounding."""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import one_hot

__all__ = ["Sample", "fixed_sample"]

N_FITTED, N_FEATURES, RIDGE, SCALE = 797, 256, 3.0, 10.0


class Sample(NamedTuple):
    """
    What is attacked.

    Args:
        network: Gets 93 % of a thousand digits right.
        x: ``(n, 1, 8, 8)`` float32 in [0, 1], digits that it gets right.
        y: ``(n,)`` int64.
    """

    network: nn.Sequential
    x: Tensor
    y: Tensor


def fixed_sample(n: int | None = None) -> Sample:
    """Fit the network, and return it with the first ``n`` digits behind those that it was fitted to; the wrong ones are left out."""
    pictures, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(pictures / 16).view(-1, 1, 8, 8), torch.tensor(labels)
    generator = torch.Generator().manual_seed(0)
    first, last = nn.Linear(64, N_FEATURES), nn.Linear(N_FEATURES, 10)
    weight = torch.randn(N_FEATURES, 64, generator=generator, dtype=torch.float64) / 8
    bias = torch.randn(N_FEATURES, generator=generator, dtype=torch.float64) / 2
    features = torch.relu(x[:N_FITTED].flatten(1) @ weight.T + bias)
    features = torch.cat([features, torch.ones(N_FITTED, 1, dtype=torch.float64)], dim=1)
    target = one_hot(y[:N_FITTED], 10).double()
    head = SCALE * torch.linalg.solve(features.T @ features + RIDGE * torch.eye(N_FEATURES + 1, dtype=torch.float64), features.T @ target)
    with torch.no_grad():
        for layer, (w, b) in ((first, (weight, bias)), (last, (head[:-1].T, head[-1]))):
            layer.weight.copy_(w)
            layer.bias.copy_(b)
    network = nn.Sequential(nn.Flatten(), first, nn.ReLU(), last).eval().requires_grad_(False)
    stop = None if n is None else N_FITTED + n
    x, y = x[N_FITTED:stop].float(), y[N_FITTED:stop]
    right = network(x).argmax(dim=1) == y

    return Sample(network, x[right], y[right])
