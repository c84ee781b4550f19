"""
The metrics: functions of what a method predicted and of the whole truth.

A figure that does not exist is ``None``. Predictions that are not finite are a trial that diverged, whatever the figure; predictions outside of [0, 1] are
no probabilities, and an error.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as sklearn_log_loss

from harness import TrialDiverged
from plugins.tasks.rare_events.protocol import Outcome, RareEvents

__all__ = [
    "auc",
    "average_precision",
    "binned_frequencies",
    "brier",
    "crossing_rate",
    "ece",
    "log10_mse",
    "log_loss",
    "mse",
    "mse_test",
    "number_of_bins",
    "oce",
    "oce_as_released",
    "ordinal_calibration_error",
]

FLOOR = 1e-6  # of a probability in the log loss: a certainty that fails costs 13.8, not infinity
LEAST_MSE = 1e-300


def log_loss(outcome: Outcome, data: RareEvents) -> float:
    """Return the mean of ``-log p`` of what happened, in nats."""
    return float(sklearn_log_loss(_came(data), np.clip(_probabilities(outcome.test), FLOOR, 1 - FLOOR), labels=[0, 1]))


def brier(outcome: Outcome, data: RareEvents) -> float:
    """Return the mean of ``(p - t)**2``, in [0, 1]."""
    return float(brier_score_loss(_came(data), _probabilities(outcome.test), labels=[0, 1], pos_label=1))


def mse(outcome: Outcome, data: RareEvents) -> float | None:
    """Return the mean of ``(p - P)**2`` over the training points, the PRESTO paper's figure; ``None`` where the truth ``P`` is not known."""
    return _against_truth(outcome.train, data.train_probability)


def log10_mse(outcome: Outcome, data: RareEvents) -> float | None:
    """Return the decimal logarithm of :func:`mse`, not below -300; ``None`` where the truth is not known."""
    value = mse(outcome, data)

    return None if value is None else float(np.log10(max(value, LEAST_MSE)))


def mse_test(outcome: Outcome, data: RareEvents) -> float | None:
    """Return :func:`mse` at the test points, which no method has seen; ``None`` where the truth is not known."""
    return _against_truth(outcome.test, data.test_probability)


def auc(outcome: Outcome, data: RareEvents) -> float | None:
    """Return the area under the ROC curve, ties counted as half; ``None`` where the test set has one kind of sample."""
    came = _came(data)
    probabilities = _probabilities(outcome.test)

    return None if came.all() or not came.any() else float(roc_auc_score(came, probabilities))


def average_precision(outcome: Outcome, data: RareEvents) -> float | None:
    """Return the average precision; ``None`` where the test set has no rare sample."""
    came = _came(data)
    probabilities = _probabilities(outcome.test)

    return float(average_precision_score(came, probabilities)) if came.any() else None


def ece(outcome: Outcome, data: RareEvents) -> float:
    """Return the mean over bins of equal counts of the distance between their mean probability and their frequency, weighted by the counts."""
    probabilities, came = _probabilities(outcome.test), _came(data)
    order = np.argsort(probabilities, kind="stable")
    bins = np.array_split(order, number_of_bins(len(order)))

    return float(sum(abs(probabilities[rows].sum() - came[rows].sum()) for rows in bins) / len(order))


def oce(outcome: Outcome, data: RareEvents) -> float:
    """Return :func:`ordinal_calibration_error` on the test set."""
    return ordinal_calibration_error(_probabilities(outcome.test), _came(data), number_of_bins(len(outcome.test)))


def oce_as_released(outcome: Outcome, data: RareEvents) -> float:
    """Return what the released code computes in the place of :func:`oce`: it compares the sorted bins with the predictions in the order of the samples."""
    probabilities, came = _probabilities(outcome.test), _came(data)
    frequencies = binned_frequencies(probabilities, came, number_of_bins(len(came)))
    order = np.argsort(probabilities, kind="stable")

    return float(((probabilities - frequencies[order]) ** 2).mean())


def crossing_rate(outcome: Outcome, data: RareEvents) -> float | None:
    """Return the share of test points with a negative class probability, in [0, 1]; ``None`` for a method that models the rare class alone."""
    _probabilities(outcome.test)
    if outcome.test_classes is None:
        return None

    return float((_finite(outcome.test_classes) < 0).any(axis=1).mean())


def number_of_bins(n: int) -> int:
    """Return the paper's number of bins: one for a hundred samples, ten at least."""
    return max(round(n / 100), 10)


def binned_frequencies(probabilities: np.ndarray, came: np.ndarray, n_bins: int) -> np.ndarray:
    """
    Return for each sample how often the event came in its bin, ``(n,)``.

    Samples are sorted by probability, ties in the order given, and cut into bins of equal counts; the first ``n mod n_bins`` bins have one more.

    Args:
        probabilities: ``(n,)``.
        came: ``(n,)``, 0 or 1.
        n_bins: Number of bins; there are at most ``n``.
    """
    frequencies = np.empty(len(came))
    for rows in np.array_split(np.argsort(probabilities, kind="stable"), min(n_bins, len(came))):
        frequencies[rows] = came[rows].mean()

    return frequencies


def ordinal_calibration_error(probabilities: np.ndarray, came: np.ndarray, n_bins: int) -> float:
    """
    Return the mean of the squared distance of each probability from the frequency of the event in its bin (:func:`binned_frequencies`).

    Args:
        probabilities: ``(n,)`` in [0, 1].
        came: ``(n,)``, 0 or 1.
        n_bins: Number of bins.

    Returns:
        In [0, 1]; with few samples a bin scatter alone makes it positive.
    """
    return float(((probabilities - binned_frequencies(probabilities, came, n_bins)) ** 2).mean())


def _came(data: RareEvents) -> np.ndarray:
    """Return 1 where the rare class came in the test set, else 0."""
    return (data.test.y == data.n_classes - 1).astype(np.int64)


def _against_truth(predicted: np.ndarray, truth: np.ndarray | None) -> float | None:
    predicted = _probabilities(predicted)

    return None if truth is None else float(((predicted - truth) ** 2).mean())


def _probabilities(values: np.ndarray) -> np.ndarray:
    """Pass on finite probabilities, rounding errors cut off."""
    _finite(values)
    if values.min(initial=0.0) < -1e-9 or values.max(initial=0.0) > 1 + 1e-9:
        raise ValueError(f"the forecast of the rare class lies in [{values.min():.3g}, {values.max():.3g}]; probabilities lie in [0, 1]")

    return np.clip(values, 0.0, 1.0)


def _finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise TrialDiverged("the method's probabilities are not finite")

    return values
