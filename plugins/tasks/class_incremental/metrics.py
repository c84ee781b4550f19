"""
The metrics: functions of what a method answered after each experience, and of the truth.

Accuracies are class-incremental, among all classes that have been seen, unless their name says ``til``: there the experience of a sample is known. A figure
that does not exist is ``None``.
"""

from __future__ import annotations

import numpy as np

from harness.training.image_data import ImageData
from plugins.tasks.class_incremental import matrix
from plugins.tasks.class_incremental.protocol import Outcome

__all__ = [
    "accuracy",
    "accuracy_matrix",
    "added_parameters",
    "average_accuracy",
    "average_accuracy_later",
    "backward_transfer",
    "experience_identification",
    "forgetting",
    "gamma",
    "learning_accuracy",
    "memory_mb",
    "memory_samples",
    "new_as_old",
    "norm_ratio",
    "old_as_new",
    "step_accuracies",
    "til_accuracy",
    "til_forgetting",
]

MEGA = 1e6


def accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the share of all test samples that are right after the last experience, in [0, 1]."""
    return float(step_accuracies(outcome, data)[-1])


def average_accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the mean over all steps, the first included, of the accuracy among the classes seen; each sample counts the same."""
    return float(step_accuracies(outcome, data).mean())


def average_accuracy_later(outcome: Outcome, data: ImageData) -> float | None:
    """Return :func:`average_accuracy` without the first step, which is not incremental, as iCaRL, BiC and WA have it; ``None`` for one experience."""
    later = step_accuracies(outcome, data)[1:]

    return float(later.mean()) if len(later) > 0 else None


def forgetting(outcome: Outcome, data: ImageData) -> float | None:
    """Return how far an experience has fallen from its best (:func:`plugins.tasks.class_incremental.matrix.forgetting`)."""
    return matrix.forgetting(accuracy_matrix(outcome, data))


def backward_transfer(outcome: Outcome, data: ImageData) -> float | None:
    """Return what an experience has gained since it was learned."""
    return matrix.backward_transfer(accuracy_matrix(outcome, data))


def learning_accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the mean accuracy of an experience as it has just been learned, in [0, 1]."""
    return matrix.learning_accuracy(accuracy_matrix(outcome, data))


def til_accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the share of all test samples whose class is right after the last experience where their own experience is known, in [0, 1]."""
    y = _truth(outcome, data)

    return float((_within_own(outcome, y)[-1] == y).mean())


def til_forgetting(outcome: Outcome, data: ImageData) -> float | None:
    """Return :func:`forgetting` where the experience of a sample is known."""
    return matrix.forgetting(accuracy_matrix(outcome, data, known_experience=True))


def experience_identification(outcome: Outcome, data: ImageData) -> float:
    """Return the share of all test samples whose answer after the last experience is a class of the right experience, in [0, 1]."""
    return float((_experience(outcome, outcome.answers[-1]) == _experience(outcome, _truth(outcome, data))).mean())


def old_as_new(outcome: Outcome, data: ImageData) -> float | None:
    """Return the share of old test samples that are taken for a new class after the last experience, in [0, 1]; ``None`` for one experience."""
    is_old, answered_old = _sides(outcome, data)

    return _mean(~answered_old[is_old])


def new_as_old(outcome: Outcome, data: ImageData) -> float | None:
    """Return the share of new test samples that are taken for an old class after the last experience, in [0, 1]; ``None`` for one experience."""
    is_old, answered_old = _sides(outcome, data)

    return _mean(answered_old[~is_old]) if is_old.any() else None


def added_parameters(outcome: Outcome, data: ImageData) -> float | None:
    """Return how many more numbers the method keeps with each experience behind the first, the memory left aside; ``None`` for one experience."""
    steps = len(outcome.kept) - 1

    return float(outcome.kept[-1] - outcome.kept[0]) / steps if steps > 0 else None


def memory_samples(outcome: Outcome, data: ImageData) -> float:
    """Return how many samples the memory holds, at most."""
    return float(outcome.memory_samples.max())


def memory_mb(outcome: Outcome, data: ImageData) -> float:
    """Return what these samples and all that is kept beside them take at most, in MB of 10^6 bytes."""
    return float(outcome.memory_bytes.max()) / MEGA


def norm_ratio(outcome: Outcome, data: ImageData) -> float | None:
    """Return the mean, over the experiences but the first, of the ratio of row norms, new to old, as training leaves them; ``None`` without such rows."""
    return None if outcome.norm_ratio is None else float(outcome.norm_ratio.mean())


def gamma(outcome: Outcome, data: ImageData) -> float | None:
    """Return the mean of what the new rows are multiplied with; ``None`` for a method that does not."""
    return None if outcome.gamma is None else float(outcome.gamma.mean())


def step_accuracies(outcome: Outcome, data: ImageData) -> np.ndarray:
    """Return the accuracy among the classes seen after each experience, ``(T,)``; each sample counts the same."""
    y = _truth(outcome, data)

    return np.array([(answers == y)[y < high].mean() for answers, high in zip(outcome.answers, outcome.bounds[1:], strict=True)])


def accuracy_matrix(outcome: Outcome, data: ImageData, known_experience: bool = False) -> np.ndarray:
    """Return R ``(T, T)`` as :mod:`plugins.tasks.class_incremental.matrix` reads it; NaN above the diagonal."""
    y = _truth(outcome, data)
    right = (_within_own(outcome, y) if known_experience else outcome.answers) == y
    own = _experience(outcome, y)
    t = len(right)
    r = np.full((t, t), np.nan)
    for i in range(t):
        for j in range(i + 1):
            r[i, j] = right[i, own == j].mean()

    return r


def _truth(outcome: Outcome, data: ImageData) -> np.ndarray:
    """Return the true classes by the order of arrival, ``(n_test,)``."""
    return np.argsort(outcome.order)[data.test.y.numpy()]


def _experience(outcome: Outcome, classes: np.ndarray) -> np.ndarray:
    return np.searchsorted(outcome.bounds, classes, side="right") - 1


def _within_own(outcome: Outcome, y: np.ndarray) -> np.ndarray:
    """Return the answers among the classes of each sample's own experience, ``(T, n_test)``."""
    return np.take_along_axis(outcome.answers_within, _experience(outcome, y)[None, :, None], axis=2)[:, :, 0]


def _sides(outcome: Outcome, data: ImageData) -> tuple[np.ndarray, np.ndarray]:
    """Return which test samples are of an old class, and which are taken for one, after the last experience."""
    n_old = outcome.bounds[-2]

    return _truth(outcome, data) < n_old, outcome.answers[-1] < n_old


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) > 0 else None
