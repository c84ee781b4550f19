"""What the methods that train on the samples of smallest loss share: how many they keep, and which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["forget_rate_schedule", "forget_rates", "smallest"]


def forget_rate_schedule(forget_rate: float, n_gradual: int, epochs: int, exponent: float = 1.0) -> np.ndarray:
    """
    Return the share of each batch that is left out, ``(epochs,)``.

    It rises evenly from 0 to ``forget_rate ** exponent`` over the first ``n_gradual`` epochs and is ``forget_rate`` after them
    (section 4 of arXiv:1804.06872, as in the authors' code).
    """
    rates = np.full(epochs, forget_rate)
    ramp = np.linspace(0, forget_rate**exponent, n_gradual)[:epochs]
    rates[: len(ramp)] = ramp

    return rates


def smallest(losses: Tensor, forget_rate: float) -> Tensor:
    """
    Return the positions of the ``int((1 - forget_rate) * B)`` smallest of ``losses`` ``(B,)``, at least one, in no particular order.

    The number is rounded down, not to the nearest, as in the authors' code of Co-teaching.
    """
    n_kept = max(1, int((1 - forget_rate) * len(losses)))

    return torch.topk(losses, n_kept, largest=False, sorted=False).indices


def forget_rates(data: NoisyLabels, epochs: int, forget_rate: float | None, ramp_fraction: float) -> np.ndarray:
    """
    Return the schedule of a trial, ``(epochs,)``, for the given final rate or, where that is ``None``, the data's noise rate.

    Raises:
        ValueError: Neither rate is known.
    """
    final = data.noise_rate if forget_rate is None else forget_rate
    if final is None:
        raise ValueError("the share of samples to leave out is unknown: set 'forget_rate', or declare the privilege 'noise_rate'")

    return forget_rate_schedule(final, round(ramp_fraction * epochs), epochs)
