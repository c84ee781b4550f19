"""
The metrics: functions of what a method predicted and of the whole truth.

A figure that does not exist is ``None``. Probabilities or weights that are not finite are a trial that diverged, whatever the figure.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from harness import TrialDiverged
from harness.training.calibration import ECE_BINS, expected_calibration_error
from plugins.tasks.noisy_labels.protocol import NoisyDataset, Outcome

__all__ = [
    "accuracy",
    "accuracy_best",
    "accuracy_single",
    "detection_auc",
    "ece",
    "f1",
    "f1_best",
    "macro_f1",
    "macro_f1_best",
    "nll",
]


def accuracy(outcome: Outcome, data: NoisyDataset) -> float:
    """Return the share of test samples that the last classifier labels rightly, in [0, 1]."""
    return _accuracy(outcome.last, data)


def accuracy_best(outcome: Outcome, data: NoisyDataset) -> float:
    """Return :func:`accuracy` of the classifier of the best validation epoch."""
    return _accuracy(outcome.best, data)


def accuracy_single(outcome: Outcome, data: NoisyDataset) -> float:
    """Return :func:`accuracy` of the first network alone, where a method trains several and averages what they say."""
    return _accuracy(outcome.single, data)


def macro_f1(outcome: Outcome, data: NoisyDataset) -> float:
    """Return the unweighted mean, over the classes that the test set has, of the last classifier's F1, in [0, 1]; a class never predicted rightly has 0."""
    return _macro_f1(outcome.last, data)


def macro_f1_best(outcome: Outcome, data: NoisyDataset) -> float:
    """Return :func:`macro_f1` of the classifier of the best validation epoch."""
    return _macro_f1(outcome.best, data)


def f1(outcome: Outcome, data: NoisyDataset) -> float | None:
    """Return the last classifier's F1 of class 1, in [0, 1]; ``None`` where there are other than two classes."""
    return _f1(outcome.last, data)


def f1_best(outcome: Outcome, data: NoisyDataset) -> float | None:
    """Return :func:`f1` of the classifier of the best validation epoch."""
    return _f1(outcome.best, data)


def nll(outcome: Outcome, data: NoisyDataset) -> float:
    """Return the mean of ``-log p`` of the true class under the last classifier, in nats; scikit-learn bounds p below by 1.2e-7 (float32)."""
    return float(log_loss(data.test.y.numpy(), _finite(outcome.last), labels=np.arange(data.n_classes)))


def ece(outcome: Outcome, data: NoisyDataset) -> float:
    """Return :func:`expected_calibration_error` of the last classifier on the test set, with 15 bins."""
    return expected_calibration_error(_finite(outcome.last), data.test.y.numpy(), ECE_BINS)


def detection_auc(outcome: Outcome, data: NoisyDataset) -> float | None:
    """
    Return the probability that a clean training label has a larger sample weight than a wrong one, ties counted as half.

    ``None`` where the method gives no weights, or the training labels are all clean or all wrong.
    """
    clean = (data.train.y == data.train_clean_y).numpy()
    if outcome.sample_weights is None or clean.all() or not clean.any():
        return None

    return float(roc_auc_score(clean, _finite(outcome.sample_weights)))


def _accuracy(probabilities: np.ndarray, data: NoisyDataset) -> float:
    return float(accuracy_score(data.test.y.numpy(), _finite(probabilities).argmax(axis=1)))


def _macro_f1(probabilities: np.ndarray, data: NoisyDataset) -> float:
    y = data.test.y.numpy()
    predicted = _finite(probabilities).argmax(axis=1)

    return float(f1_score(y, predicted, labels=np.unique(y), average="macro", zero_division=0.0))


def _f1(probabilities: np.ndarray, data: NoisyDataset) -> float | None:
    if data.n_classes != 2:
        return None

    return float(f1_score(data.test.y.numpy(), _finite(probabilities).argmax(axis=1), zero_division=0.0))


def _finite(values: np.ndarray) -> np.ndarray:
    """Pass on what the method gave, unless it is not finite: its largest entry would be a class like any other."""
    if not np.isfinite(values).all():
        raise TrialDiverged("the method's probabilities or sample weights are not finite")

    return values
