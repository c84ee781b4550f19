"""
The metrics: functions of what a method trained and of the truth.

A figure that does not exist is ``None``. Figures that are not finite are a trial that diverged, whatever the metric.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score

from harness import TrialDiverged
from harness.training.calibration import ECE_BINS, expected_calibration_error
from harness.training.image_data import ImageData
from plugins.tasks.supervised.protocol import Outcome

__all__ = [
    "accuracy",
    "best_epoch",
    "ece",
    "effective_step_first",
    "effective_step_middle",
    "kurtosis",
    "max_over_std",
    "near_zero_share",
    "nll",
    "samples_to_accuracy",
    "train_accuracy",
    "train_loss",
    "train_test_gap",
    "weight_norm_growth",
]

REACHED = 0.9  # the validation accuracy that samples are counted to


def accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the share of test samples that are labelled rightly, in [0, 1]."""
    return float(accuracy_score(data.test.y.numpy(), _finite(outcome.test_logits).argmax(axis=1)))


def nll(outcome: Outcome, data: ImageData) -> float:
    """Return the mean of ``-log p`` of the true class of the test samples, in nats."""
    log_p = log_softmax(_finite(outcome.test_logits), axis=1)

    return float(-log_p[np.arange(len(log_p)), data.test.y.numpy()].mean())


def ece(outcome: Outcome, data: ImageData) -> float:
    """Return the expected calibration error, with 15 bins of equal width (Guo et al. 2017, arXiv:1706.04599, equation (3))."""
    return expected_calibration_error(softmax(_finite(outcome.test_logits), axis=1), data.test.y.numpy(), ECE_BINS)


def train_accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the share of training samples that get the label that they were trained on, wrong ones included, in [0, 1]."""
    return float(_finite(outcome.train_accuracy))


def train_loss(outcome: Outcome, data: ImageData) -> float:
    """Return the mean cross entropy of the training set without augmentation, in nats."""
    return float(_finite(outcome.train_loss))


def train_test_gap(outcome: Outcome, data: ImageData) -> float:
    """Return training accuracy less test accuracy, in [-1, 1]."""
    return train_accuracy(outcome, data) - accuracy(outcome, data)


def best_epoch(outcome: Outcome, data: ImageData) -> float:
    """Return the number, from 1, of the epoch whose network is judged: the last one, or where training stopped early the best."""
    return float(len(outcome.valid_accuracy))


def weight_norm_growth(outcome: Outcome, data: ImageData) -> float | None:
    """Return the mean norm of the hidden layers' weights after training, over that before; ``None`` without hidden layers."""
    norms = _finite(outcome.weight_norms)

    return float(norms[-1] / norms[0]) if norms[0] > 0 else None


def effective_step_first(outcome: Outcome, data: ImageData) -> float | None:
    """Return the mean, over the first epoch, of ``|w'/|w'| - w/|w||`` for a step from w to w'; ``None`` without hidden layers."""
    return _effective_step(outcome, 0)


def effective_step_middle(outcome: Outcome, data: ImageData) -> float | None:
    """Return the same over the middle epoch, the 13th of 25."""
    return _effective_step(outcome, len(outcome.effective_steps) // 2)


def samples_to_accuracy(outcome: Outcome, data: ImageData) -> float | None:
    """Return how many samples had been trained on when an epoch first ended with a validation accuracy of 90 %; ``None`` where none did."""
    reached = np.flatnonzero(_finite(outcome.valid_accuracy) >= REACHED)

    return float(outcome.samples[reached[0]]) if len(reached) > 0 else None


def near_zero_share(outcome: Outcome, data: ImageData) -> float | None:
    """Return the share of weights below a tenth of their layer's standard deviation, mean of the middle layers: all but the first and the head."""
    return _of_middle_layers(outcome.near_zero)


def kurtosis(outcome: Outcome, data: ImageData) -> float | None:
    """Return the kurtosis of the weights, mean of the middle layers: all but the first and the head."""
    return _of_middle_layers(outcome.kurtosis)


def max_over_std(outcome: Outcome, data: ImageData) -> float | None:
    """Return the largest magnitude in standard deviations, mean of the middle layers: all but the first and the head."""
    return _of_middle_layers(outcome.max_over_std)


def _of_middle_layers(figures: np.ndarray) -> float | None:
    """
    Return the mean over all layers but the first and the head; over the first where there is no other; ``None`` without hidden layers.

    The first layer sees the pixels, of which some are always 0: the weights behind them stay as they were.
    """
    if len(figures) == 0:
        return None

    return float(_finite(figures[1:] if len(figures) > 1 else figures).mean())


def _effective_step(outcome: Outcome, epoch: int) -> float | None:
    return float(_finite(outcome.effective_steps)[epoch]) if len(outcome.near_zero) > 0 else None


def _finite(figures: np.ndarray) -> np.ndarray:
    """Give figures in double precision, unless they are not finite: the largest logit would be a class like any other."""
    if not np.isfinite(figures).all():
        raise TrialDiverged("logits or statistics of the weights are not finite")

    return figures.astype(np.float64)
