"""
The metrics: functions of what a method predicted and guessed, and of the whole truth.

A figure that does not exist is ``None``. Logits that are not finite are a trial that diverged, whatever the figure.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, f1_score

from harness import TrialDiverged
from plugins.tasks.semi_supervised.protocol import Outcome, SemiSupervisedDataset

__all__ = [
    "accuracy",
    "accuracy_raw",
    "guess_accuracy",
    "macro_f1",
    "mask_ratio",
    "nll",
    "pseudo_label_precision",
    "shrunk_accuracy",
    "shrunk_coverage",
    "utilisation",
]


def accuracy(outcome: Outcome, data: SemiSupervisedDataset) -> float:
    """Return the share of test samples that the network of averaged weights labels rightly, in [0, 1]."""
    return _accuracy(outcome.average, data)


def accuracy_raw(outcome: Outcome, data: SemiSupervisedDataset) -> float:
    """Return :func:`accuracy` of the network of the last step."""
    return _accuracy(outcome.last, data)


def macro_f1(outcome: Outcome, data: SemiSupervisedDataset) -> float:
    """Return the unweighted mean of the F1 of the classes that the test set has, in [0, 1]; a class never predicted rightly has 0."""
    y = data.test.y.numpy()

    return float(f1_score(y, _finite(outcome.average).argmax(axis=1), labels=np.unique(y), average="macro", zero_division=0.0))


def nll(outcome: Outcome, data: SemiSupervisedDataset) -> float:
    """Return the mean of ``-log p`` of the true class, in nats."""
    log_p = log_softmax(_finite(outcome.average).astype(np.float64), axis=1)

    return float(-np.take_along_axis(log_p, data.test.y.numpy()[:, None], axis=1).mean())


def mask_ratio(outcome: Outcome, data: SemiSupervisedDataset) -> float | None:
    """Return the share of unlabelled samples that were trained on among all classes; ``None`` for a method without guesses."""
    return None if outcome.guess_certain is None else _mean(outcome.guess_certain)


def utilisation(outcome: Outcome, data: SemiSupervisedDataset) -> float | None:
    """Return the share of unlabelled samples with a gradient that is not 0; ``None`` for a method without guesses."""
    if outcome.guess_certain is None or outcome.guess_reduced is None:
        return None

    return _mean(outcome.guess_certain | outcome.guess_reduced)


def guess_accuracy(outcome: Outcome, data: SemiSupervisedDataset) -> float | None:
    """Return the accuracy of all guesses; ``None`` for a method without guesses, or where nobody knows the truth."""
    right = _right(outcome, data)

    return None if right is None else _mean(right)


def pseudo_label_precision(outcome: Outcome, data: SemiSupervisedDataset) -> float | None:
    """Return the accuracy of the guesses that were trained on among all classes; ``None`` as :func:`guess_accuracy`, and where there is none."""
    right = _right(outcome, data)

    return None if right is None or outcome.guess_certain is None else _mean(right[outcome.guess_certain])


def shrunk_coverage(outcome: Outcome, data: SemiSupervisedDataset) -> float | None:
    """Return how often the true class of a sample is kept in its shrunk space; ``None`` where there is no such space, or nobody knows the truth."""
    kept = _truth_is_kept(outcome, data)

    return None if kept is None else _mean(kept[outcome.guess_reduced])


def shrunk_accuracy(outcome: Outcome, data: SemiSupervisedDataset) -> float | None:
    """Return how often the guess in a shrunk space is right where the true class is kept in it; ``None`` as :func:`shrunk_coverage`."""
    kept, right = _truth_is_kept(outcome, data), _right(outcome, data)

    return None if kept is None or right is None else _mean(right[kept & outcome.guess_reduced])


def _accuracy(logits: np.ndarray, data: SemiSupervisedDataset) -> float:
    return float(accuracy_score(data.test.y.numpy(), _finite(logits).argmax(axis=1)))


def _right(outcome: Outcome, data: SemiSupervisedDataset) -> np.ndarray | None:
    """Return which guesses are right, ``(M,)`` bool."""
    if outcome.guess_index is None or data.unlabelled_y is None:
        return None
    right: np.ndarray = data.unlabelled_y.numpy()[outcome.guess_index] == outcome.guess_label

    return right


def _truth_is_kept(outcome: Outcome, data: SemiSupervisedDataset) -> np.ndarray | None:
    """Return for which guesses the true class is among those that were kept, ``(M,)`` bool."""
    if outcome.guess_kept is None or outcome.guess_index is None or data.unlabelled_y is None:
        return None
    kept = np.unpackbits(outcome.guess_kept, axis=1, count=data.n_classes).astype(bool)
    found: np.ndarray = np.take_along_axis(kept, data.unlabelled_y.numpy()[outcome.guess_index][:, None], axis=1)[:, 0]

    return found


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) > 0 else None


def _finite(values: np.ndarray) -> np.ndarray:
    """Pass on what the method gave, unless it is not finite: its largest entry would be a class like any other."""
    if not np.isfinite(values).all():
        raise TrialDiverged("the method's logits are not finite")

    return values
