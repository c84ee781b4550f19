"""
The metrics: functions of what the quantised network said of the test set, of the truth, and of what it costs.

A figure that does not exist is ``None``.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import log_softmax

from harness.training.image_data import ImageData
from plugins.tasks.quantization.integers import Cost
from plugins.tasks.quantization.protocol import Outcome

__all__ = [
    "accuracy",
    "agreement",
    "bit_operations",
    "bits",
    "near_threshold",
    "nll",
    "oscillating",
    "oscillation_rate",
    "pretrained_accuracy",
    "size",
]

LAST = 4  # the last quarter of the epochs is looked at
KILO, MEGA = 1e3, 1e6


def accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the share of test samples that the quantised network labels rightly, in [0, 1]."""
    return float((outcome.logits.argmax(axis=1) == data.test.y.numpy()).mean())


def nll(outcome: Outcome, data: ImageData) -> float:
    """Return the mean of ``-log p`` of the true class under the quantised network, in nats."""
    log_p = log_softmax(outcome.logits.astype(np.float64), axis=1)

    return float(-log_p[np.arange(len(log_p)), data.test.y.numpy()].mean())


def pretrained_accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the share of test samples that the pretrained network labels rightly, in [0, 1]; the same for every method of a data set and seed."""
    return float((outcome.pretrained.argmax(axis=1) == data.test.y.numpy()).mean())


def agreement(outcome: Outcome, data: ImageData) -> float:
    """Return the share of test samples for which the quantised and the pretrained network name the same class, in [0, 1], right or wrong."""
    return float((outcome.logits.argmax(axis=1) == outcome.pretrained.argmax(axis=1)).mean())


def oscillation_rate(outcome: Outcome, data: ImageData) -> float | None:
    """Return the oscillations of a thousand weights a step, mean over the last quarter of the epochs; ``None`` for a method that does not train."""
    if outcome.oscillation is None:
        return None

    return float(outcome.oscillation[-math.ceil(len(outcome.oscillation) / LAST) :].mean()) * KILO


def oscillating(outcome: Outcome, data: ImageData) -> float | None:
    """Return the share of weights whose running frequency of oscillations, of momentum 0.01, ends above 0.005; ``None`` for a method that does not train."""
    return None if outcome.oscillating is None else float(outcome.oscillating)


def near_threshold(outcome: Outcome, data: ImageData) -> float | None:
    """Return the share of weights within 0.005 steps of a threshold; ``None`` in full precision."""
    return None if outcome.near_threshold is None else float(outcome.near_threshold)


def bits(outcome: Outcome, data: ImageData) -> float:
    """Return the bits of a weight of a layer, mean over all of them, the first and the last layer included."""
    return Cost(*outcome.cost).bits


def size(outcome: Outcome, data: ImageData) -> float:
    """Return what the network takes, in kB of 1,000 bytes (:class:`plugins.tasks.quantization.integers.Cost`)."""
    return Cost(*outcome.cost).n_bytes / KILO


def bit_operations(outcome: Outcome, data: ImageData) -> float:
    """Return the multiplications for one sample, each times the bits of both factors, in millions."""
    return Cost(*outcome.cost).bit_operations / MEGA
