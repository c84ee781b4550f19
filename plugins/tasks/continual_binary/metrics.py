"""
The metrics: functions of what a learner knew after each task, and of the whole truth.

A figure that does not exist is ``None``. ``R[i, j]`` is the accuracy on task j after task i.
"""

from __future__ import annotations

import numpy as np

from harness import TrialDiverged
from plugins.tasks.continual_binary.protocol import ContinualData, Outcome

__all__ = [
    "accuracy",
    "accuracy_first",
    "accuracy_last",
    "accuracy_mean_field",
    "average_forgetting",
    "average_incremental_accuracy",
    "forgetting",
    "free_entropy",
    "incremental_accuracy",
    "learning_accuracy",
    "self_overlap",
    "sign_overlap_first",
    "sign_overlap_last",
    "teacher_overlap",
]


def accuracy(outcome: Outcome, data: ContinualData) -> float | None:
    """Return the mean over tasks of the test accuracy after the last one, by the binary weights, in [0, 1]."""
    found = _accuracies(outcome.labels, data)

    return None if found is None else float(found[-1].mean())


def accuracy_mean_field(outcome: Outcome, data: ContinualData) -> float | None:
    """Return :func:`accuracy` by the mean weights; ``None`` for a learner without a distribution."""
    found = _accuracies(outcome.mean_labels, data)

    return None if found is None else float(found[-1].mean())


def accuracy_first(outcome: Outcome, data: ContinualData) -> float | None:
    """Return the test accuracy on the first task after the last one."""
    found = _accuracies(outcome.labels, data)

    return None if found is None else float(found[-1, 0])


def accuracy_last(outcome: Outcome, data: ContinualData) -> float | None:
    """Return the test accuracy on the last task after it."""
    found = _accuracies(outcome.labels, data)

    return None if found is None else float(found[-1, -1])


def learning_accuracy(outcome: Outcome, data: ContinualData) -> float | None:
    """Return the mean over tasks of the test accuracy right after each."""
    found = _accuracies(outcome.labels, data)

    return None if found is None else float(np.diag(found).mean())


def incremental_accuracy(outcome: Outcome, data: ContinualData) -> float | None:
    """Return :func:`average_incremental_accuracy` of the test accuracies."""
    found = _accuracies(outcome.labels, data)

    return None if found is None else average_incremental_accuracy(found)


def forgetting(outcome: Outcome, data: ContinualData) -> float | None:
    """Return :func:`average_forgetting` of the test accuracies; ``None`` for a stream of one task."""
    found = _accuracies(outcome.labels, data)

    return None if found is None or len(found) < 2 else average_forgetting(found)


def self_overlap(outcome: Outcome, data: ContinualData) -> float | None:
    """Return qd, the mean square of the magnetisations of a perceptron after the last task, in [0, 1]."""
    order = _order(outcome, data)

    return None if order is None else float(order[0])


def teacher_overlap(outcome: Outcome, data: ContinualData) -> float | None:
    """Return r, the overlap of the magnetisations after the last task and the weights of its teacher, in [-1, 1]."""
    order = _order(outcome, data)

    return None if order is None else float(order[len(data.tasks)])


def sign_overlap_first(outcome: Outcome, data: ContinualData) -> float | None:
    """Return p1, the overlap of the signs of the magnetisations after the last task and the weights of the first teacher, in [-1, 1]."""
    order = _order(outcome, data)

    return None if order is None else float(order[len(data.tasks) + 1])


def sign_overlap_last(outcome: Outcome, data: ContinualData) -> float | None:
    """Return :func:`sign_overlap_first` for the last teacher."""
    order = _order(outcome, data)

    return None if order is None else float(order[-1])


def free_entropy(outcome: Outcome, data: ContinualData) -> float | None:
    """Return Phi of a theory's solution for the first task; ``None`` for a learner."""
    return None if outcome.free_entropy is None else float(outcome.free_entropy[0])


def average_incremental_accuracy(accuracies: np.ndarray) -> float:
    """
    Return the mean over i of the mean of ``R[i, j]`` over the tasks ``j <= i`` that have come by then.

    Args:
        accuracies: ``(T, T)``, ``R``.
    """
    return float(np.mean([row[: i + 1].mean() for i, row in enumerate(accuracies)]))


def average_forgetting(accuracies: np.ndarray) -> float:
    """
    Return the mean over all tasks j but the last of ``max R[l, j] - R[T - 1, j]`` over ``j <= l < T - 1``; negative where old tasks gain.

    Args:
        accuracies: ``(T, T)``, ``R``, with T of 2 at least.
    """
    last = len(accuracies) - 1

    return float(np.mean([accuracies[j:last, j].max() - accuracies[last, j] for j in range(last)]))


def _accuracies(labels: np.ndarray | None, data: ContinualData) -> np.ndarray | None:
    """Return ``R``, ``(T, T)``."""
    if labels is None or labels.size == 0:
        return None
    right: np.ndarray = labels == np.stack([task.test.y.numpy() for task in data.tasks])

    return right.mean(axis=2)


def _order(outcome: Outcome, data: ContinualData) -> np.ndarray | None:
    """Return the order parameters after the last task, ``(1 + 2 T,)``: foreseen, or those of a perceptron; ``None`` where there is no teacher."""
    if outcome.order is not None:
        return outcome.order[-1]
    if outcome.magnetisations is None or data.teachers is None:
        return None
    m = outcome.magnetisations[-1].astype(np.float64)
    if not np.isfinite(m).all():
        raise TrialDiverged("the learner's magnetisations are not finite")
    teachers = data.teachers.astype(np.float64)

    return np.concatenate([[(m**2).mean()], teachers @ m / len(m), teachers @ np.sign(m) / len(m)])
