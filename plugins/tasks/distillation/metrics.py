"""
The metrics: functions of what student and teacher said of the test set, and of the truth.

A figure that does not exist is ``None``. Logits that are not finite are a trial that diverged, whatever the figure.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, top_k_accuracy_score

from harness import TrialDiverged
from harness.training.calibration import ECE_BINS, expected_calibration_error
from harness.training.image_data import ImageData
from plugins.tasks.distillation.protocol import Outcome

__all__ = ["accuracy", "agreement", "ece", "kl_to_teacher", "nll", "teacher_accuracy", "top5"]


def accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the share of test samples that the student labels rightly, in [0, 1]."""
    return float(accuracy_score(data.test.y.numpy(), _finite(outcome.student).argmax(axis=1)))


def top5(outcome: Outcome, data: ImageData) -> float | None:
    """Return the share of test samples whose class is among the student's five likeliest, in [0, 1]; ``None`` where there are no more than five classes."""
    if data.n_classes <= 5:
        return None

    return float(top_k_accuracy_score(data.test.y.numpy(), _finite(outcome.student), k=5, labels=np.arange(data.n_classes)))


def nll(outcome: Outcome, data: ImageData) -> float:
    """Return the mean of ``-log p`` of the true class under the student, in nats."""
    log_p = log_softmax(_finite(outcome.student), axis=1)

    return float(-log_p[np.arange(len(log_p)), data.test.y.numpy()].mean())


def ece(outcome: Outcome, data: ImageData) -> float:
    """Return the student's expected calibration error, with 15 bins of equal width (Guo et al. 2017, arXiv:1706.04599, equation (3))."""
    return expected_calibration_error(softmax(_finite(outcome.student), axis=1), data.test.y.numpy(), ECE_BINS)


def agreement(outcome: Outcome, data: ImageData) -> float:
    """Return the share of test samples for which student and teacher name the same class, in [0, 1], right or wrong."""
    return float((_finite(outcome.student).argmax(axis=1) == _finite(outcome.teacher).argmax(axis=1)).mean())


def kl_to_teacher(outcome: Outcome, data: ImageData) -> float:
    """Return the mean of ``KL(teacher || student)``, in nats, both at temperature 1."""
    log_p, log_q = log_softmax(_finite(outcome.teacher), axis=1), log_softmax(_finite(outcome.student), axis=1)

    return max(float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()), 0.0)  # rounding may leave it a little below 0


def teacher_accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the share of test samples that the teacher labels rightly, in [0, 1]; the same for every method of a data set and seed."""
    return float(accuracy_score(data.test.y.numpy(), _finite(outcome.teacher).argmax(axis=1)))


def _finite(logits: np.ndarray) -> np.ndarray:
    """Give logits in double precision, unless they are not finite: the largest entry would be a class like any other."""
    if not np.isfinite(logits).all():
        raise TrialDiverged("the logits are not finite")

    return logits.astype(np.float64)
