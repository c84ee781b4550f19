"""
The metrics: what a method's scores say of the accuracy that retraining gives, and how good its pick is.

Correlations are Kendall's tau-b, which allows for ties; where all scores are the same, or all candidates, nothing is ordered, and it is 0. A candidate's
figures are means over its retrainings.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import stats

from harness.training.image_data import ImageData
from plugins.tasks.filter_pruning.protocol import Outcome

__all__ = [
    "Correlations",
    "accuracies",
    "anomaly",
    "anomaly_ratio",
    "best_accuracy",
    "ceiling",
    "correlations",
    "dense_accuracy",
    "mean_accuracy",
    "p_value",
    "pick_accuracy",
    "regret",
    "tau_accuracy",
    "tau_train_loss",
]


class Correlations(NamedTuple):
    """
    How two lists go together.

    Args:
        tau_b: Kendall's, in [-1, 1]; 0 where one list is constant.
        p_value: That it is so far from 0 by chance, two-sided; exact for short lists without ties.
        spearman: Of ranks; 0 likewise.
        pearson: Of values; 0 likewise.
    """

    tau_b: float
    p_value: float
    spearman: float
    pearson: float


def correlations(x: np.ndarray, y: np.ndarray) -> Correlations:
    """Correlate two lists of the same length, at least 2."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Correlations(0.0, 1.0, 0.0, 0.0)
    tau = stats.kendalltau(x, y)

    return Correlations(
        float(tau.statistic), float(tau.pvalue), float(stats.spearmanr(x, y).statistic), float(stats.pearsonr(x, y).statistic)
    )


def anomaly_ratio(scores: np.ndarray, figures: np.ndarray, higher_is_better: bool) -> float:
    """Return the share of candidates that are strictly better than the one of the lowest score, which counts among them all; of equal scores the first."""
    pick = figures[int(np.argmin(scores))]

    return float((figures > pick if higher_is_better else figures < pick).mean())


def accuracies(outcome: Outcome, data: ImageData) -> np.ndarray:
    """Return the test accuracy of each retraining of each candidate, ``(R, N)``."""
    found: np.ndarray = (outcome.classes == data.test.y.numpy()).mean(axis=2)

    return found


def tau_accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return tau of scores and test accuracies; below 0 for scores that say what comes."""
    return correlations(outcome.scores, accuracies(outcome, data).mean(axis=0)).tau_b


def p_value(outcome: Outcome, data: ImageData) -> float:
    """Return how probable so large a correlation with the accuracies is by chance, in [0, 1]."""
    return correlations(outcome.scores, accuracies(outcome, data).mean(axis=0)).p_value


def tau_train_loss(outcome: Outcome, data: ImageData) -> float:
    """Return tau of scores and training losses behind retraining; above 0 for scores that say what comes."""
    return correlations(outcome.scores, outcome.train_loss.mean(axis=0)).tau_b


def ceiling(outcome: Outcome, data: ImageData) -> float | None:
    """Return tau of the test accuracies of two retrainings of the same candidates, mean over pairs; ``None`` for a single one. The same for all methods."""
    found = [correlations(one, other).tau_b for one, other in combinations(accuracies(outcome, data), 2)]

    return math.fsum(found) / len(found) if found else None


def anomaly(outcome: Outcome, data: ImageData) -> float:
    """Return the share of candidates whose test accuracy is strictly better than the pick's."""
    return anomaly_ratio(outcome.scores, accuracies(outcome, data).mean(axis=0), higher_is_better=True)


def pick_accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the test accuracy of the pick, retrained, in [0, 1]."""
    return float(accuracies(outcome, data).mean(axis=0)[int(np.argmin(outcome.scores))])


def regret(outcome: Outcome, data: ImageData) -> float:
    """Return the test accuracy of the best candidate less that of the pick, in [0, 1]."""
    return float(accuracies(outcome, data).mean(axis=0).max()) - pick_accuracy(outcome, data)


def mean_accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the mean test accuracy of all candidates: what a pick by chance has. The same for all methods."""
    return float(accuracies(outcome, data).mean())


def best_accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the test accuracy of the best candidate. The same for all methods."""
    return float(accuracies(outcome, data).mean(axis=0).max())


def dense_accuracy(outcome: Outcome, data: ImageData) -> float:
    """Return the test accuracy of the whole network. The same for all methods."""
    return float((outcome.dense_classes == data.test.y.numpy()).mean())
