"""The metrics: functions of what the networks of all corruptions said of the test pictures, clean and corrupted, and of the truth."""

from __future__ import annotations

import numpy as np

from plugins.tasks.corruption_robustness.data import CorruptionData
from plugins.tasks.corruption_robustness.protocol import Outcome

__all__ = [
    "accuracy",
    "accuracy_by_severity",
    "accuracy_matrix",
    "clean_accuracy",
    "cosine",
    "mild_accuracy",
    "other_accuracy",
    "robust_accuracy",
    "shallow_change",
    "stored_kb",
    "worst_accuracy",
]

HIGHEST = 5


def accuracy(outcome: Outcome, data: CorruptionData) -> float:
    """Return the accuracy where half of the pictures are corrupted and nobody says which, in [0, 1]: the mean of clean and robust accuracy."""
    return (clean_accuracy(outcome, data) + robust_accuracy(outcome, data)) / 2


def clean_accuracy(outcome: Outcome, data: CorruptionData) -> float:
    """Return TA: the share of clean test pictures that are labelled rightly, in [0, 1], mean over the networks of all corruptions."""
    return float((outcome.clean == data.test.y).mean())


def robust_accuracy(outcome: Outcome, data: CorruptionData) -> float:
    """Return RA: that of corrupted test pictures by the network of their corruption."""
    return float(accuracy_matrix(outcome, data).diagonal().mean())


def worst_accuracy(outcome: Outcome, data: CorruptionData) -> float:
    """Return RA of the corruption where it is lowest."""
    return float(accuracy_matrix(outcome, data).diagonal().min())


def other_accuracy(outcome: Outcome, data: CorruptionData) -> float | None:
    """Return RA on pictures of the other corruptions, mean over networks and corruptions; ``None`` where there is but one corruption."""
    matrix = accuracy_matrix(outcome, data)
    if len(matrix) == 1:
        return None

    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())


def mild_accuracy(outcome: Outcome, data: CorruptionData) -> float | None:
    """Return RA at severities below the one that training knows, mean over them; ``None`` where none is judged."""
    mild = outcome.severities < data.severity
    if not mild.any():
        return None

    return float((outcome.by_severity[:, mild] == data.test.y).mean())


def stored_kb(outcome: Outcome, data: CorruptionData) -> float:
    """Return what is kept beside the standard network for all corruptions together, in thousands of bytes."""
    return float(outcome.stored_bytes[0]) / 1000


def shallow_change(outcome: Outcome, data: CorruptionData) -> float | None:
    """
    Return how much more the first half of the layers differs between specialist and standard network than the second, relative changes; 1 is alike.

    A middle layer counts with neither. It is the same for every method of a data set and seed; ``None`` where there is one layer.
    """
    half = len(outcome.change) // 2
    if half == 0:
        return None

    return float(outcome.change[:half].mean() / outcome.change[-half:].mean())


def cosine(outcome: Outcome, data: CorruptionData) -> float | None:
    """Return the mean cosine between what a method adds to the weights for different corruptions, in [-1, 1]; ``None`` where it adds nothing."""
    return None if outcome.cosine is None else float(outcome.cosine[0])


def accuracy_matrix(outcome: Outcome, data: CorruptionData) -> np.ndarray:
    """Return ``(K, K)``, the accuracy of each corruption's network (row) on the pictures of each (column)."""
    matrix: np.ndarray = (outcome.corrupted == data.test.y).mean(axis=2)

    return matrix


def accuracy_by_severity(outcome: Outcome, data: CorruptionData) -> np.ndarray:
    """Return ``(6,)``, the accuracy at each severity, 0 for clean pictures; NaN where none is judged."""
    values = np.full(HIGHEST + 1, np.nan)
    values[0] = clean_accuracy(outcome, data)
    values[outcome.severities] = (outcome.by_severity == data.test.y).mean(axis=(0, 2))

    return values
