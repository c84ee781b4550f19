"""
The metrics: functions of what a method predicted and of the whole truth.

A figure that does not exist is ``None``. Predictions or weights that are not finite are a trial that diverged, whatever the figure.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from harness import TrialDiverged
from plugins.tasks.debiased_recommendation.protocol import Outcome, RatingDataset

__all__ = [
    "Ranking",
    "auc",
    "estimation_error",
    "estimation_error_coarse",
    "estimation_error_low_rank",
    "estimation_error_rotate",
    "estimation_error_skew",
    "f1_at_5",
    "f1_at_10",
    "mae",
    "mse",
    "ndcg_at_5",
    "ndcg_at_5_positives",
    "ndcg_at_10",
    "ndcg_at_10_positives",
    "precision_at_5",
    "precision_at_10",
    "ranking",
    "recall_at_5",
    "recall_at_10",
    "relative_error",
]

Floats = NDArray[np.floating]

SMALLEST = 1e-7


class Ranking(NamedTuple):
    """
    What the first k items of each user are worth, the users in the order of their numbers.

    Args:
        ndcg: ``(U,)`` in [0, 1]; 1 for a user without positives.
        recall: ``(U,)``, hits by positives; 0 for a user without positives.
        precision: ``(U,)``, hits by k.
        positives: ``(U,)``, how many each user has.
    """

    ndcg: Floats
    recall: Floats
    precision: Floats
    positives: NDArray[np.intp]


def ranking(users: NDArray[np.integer], labels: Floats, scores: Floats, k: int) -> Ranking:
    """
    Rank each user's items by score and look at the first ``k``.

    NDCG is binary with gains ``1 / log2(1 + rank)``. Items of equal score keep their order.

    Args:
        users: ``(n,)``.
        labels: ``(n,)`` in 0..1.
        scores: ``(n,)``.
        k: At least 1.
    """
    order = np.lexsort((-scores, users))
    known, first, counts = np.unique(users[order], return_index=True, return_counts=True)
    hit = labels[order].astype(np.float64)
    rank = np.arange(len(users)) - np.repeat(first, counts)  # from 0, within the user
    gains = 1 / np.log2(2 + np.arange(k))
    counted = rank < k
    owner = np.repeat(np.arange(len(known)), counts)
    hits = np.bincount(owner[counted], weights=hit[counted], minlength=len(known))
    gained = np.bincount(owner[counted], weights=hit[counted] * gains[rank[counted]], minlength=len(known))
    positives = np.bincount(owner, weights=hit, minlength=len(known)).astype(np.intp)
    best = np.concatenate([[0.0], np.cumsum(gains)])[np.minimum(positives, k)]

    return Ranking(
        ndcg=np.where(positives > 0, gained / np.where(positives > 0, best, 1), 1.0),
        recall=hits / np.maximum(positives, 1),
        precision=hits / k,
        positives=positives,
    )


def relative_error(errors: Floats, weights: Floats, truth: float) -> float:
    """Return ``|estimate - truth| / truth`` of the weighted mean of the observed errors; the weights are divided by their sum."""
    return float(abs(np.average(errors, weights=weights) - truth) / truth)


def mse(outcome: Outcome, data: RatingDataset) -> float:
    """Return the mean squared error to the true probability of the test pairs where it is known, else to their labels."""
    return float(((_finite(outcome.test).astype(np.float64) - data.test_target.numpy()) ** 2).mean())


def mae(outcome: Outcome, data: RatingDataset) -> float:
    """Return the mean absolute error to the true probability of the test pairs where it is known, else to their labels."""
    return float(np.abs(_finite(outcome.test).astype(np.float64) - data.test_target.numpy()).mean())


def auc(outcome: Outcome, data: RatingDataset) -> float | None:
    """Return the area under the ROC curve over all test pairs; ``None`` where the test labels are all the same."""
    labels = data.test.labels.numpy()
    scores = _finite(outcome.test)
    if labels.min() == labels.max():
        return None

    return float(roc_auc_score(labels, scores))


def ndcg_at_5(outcome: Outcome, data: RatingDataset) -> float:
    """Return the mean NDCG of the first 5 over all users, as the released code has it: 1 for a user without positives."""
    return float(_ranking(outcome, data, 5).ndcg.mean())


def ndcg_at_10(outcome: Outcome, data: RatingDataset) -> float:
    """Return :func:`ndcg_at_5` of the first 10."""
    return float(_ranking(outcome, data, 10).ndcg.mean())


def ndcg_at_5_positives(outcome: Outcome, data: RatingDataset) -> float | None:
    """Return the mean NDCG of the first 5 over the users with positives; ``None`` where there are none."""
    return _among_positives(_ranking(outcome, data, 5))


def ndcg_at_10_positives(outcome: Outcome, data: RatingDataset) -> float | None:
    """Return :func:`ndcg_at_5_positives` of the first 10."""
    return _among_positives(_ranking(outcome, data, 10))


def recall_at_5(outcome: Outcome, data: RatingDataset) -> float:
    """Return the mean over users of hits in the first 5 by positives."""
    return float(_ranking(outcome, data, 5).recall.mean())


def recall_at_10(outcome: Outcome, data: RatingDataset) -> float:
    """Return :func:`recall_at_5` of the first 10."""
    return float(_ranking(outcome, data, 10).recall.mean())


def precision_at_5(outcome: Outcome, data: RatingDataset) -> float:
    """Return the mean over users of hits in the first 5, by 5."""
    return float(_ranking(outcome, data, 5).precision.mean())


def precision_at_10(outcome: Outcome, data: RatingDataset) -> float:
    """Return the mean over users of hits in the first 10, by 10."""
    return float(_ranking(outcome, data, 10).precision.mean())


def f1_at_5(outcome: Outcome, data: RatingDataset) -> float:
    """Return the harmonic mean of :func:`recall_at_5` and :func:`precision_at_5`; 0 where both are."""
    return _f1(_ranking(outcome, data, 5))


def f1_at_10(outcome: Outcome, data: RatingDataset) -> float:
    """Return :func:`f1_at_5` of the first 10."""
    return _f1(_ranking(outcome, data, 10))


def estimation_error(outcome: Outcome, data: RatingDataset) -> float | None:
    """Return the mean of the relative errors of the four fixed predictions; ``None`` where the method has no weights or the data no truth."""
    found = [_estimation_error(outcome, data, name) for name in (data.everywhere.predictions if data.everywhere is not None else ())]
    known = [error for error in found if error is not None]

    return float(np.mean(known)) if known else None


def estimation_error_skew(outcome: Outcome, data: RatingDataset) -> float | None:
    """Return :func:`relative_error` for the true probability with noise."""
    return _estimation_error(outcome, data, "skew")


def estimation_error_rotate(outcome: Outcome, data: RatingDataset) -> float | None:
    """Return :func:`relative_error` for the probability of the next lower rating."""
    return _estimation_error(outcome, data, "rotate")


def estimation_error_coarse(outcome: Outcome, data: RatingDataset) -> float | None:
    """Return :func:`relative_error` for two values, turned round."""
    return _estimation_error(outcome, data, "coarse")


def estimation_error_low_rank(outcome: Outcome, data: RatingDataset) -> float | None:
    """Return :func:`relative_error` for a logistic score of low rank."""
    return _estimation_error(outcome, data, "low_rank")


def _ranking(outcome: Outcome, data: RatingDataset, k: int) -> Ranking:
    return ranking(data.test.users.numpy(), data.test.labels.numpy(), _finite(outcome.test), k)


def _among_positives(found: Ranking) -> float | None:
    having = found.positives > 0

    return float(found.ndcg[having].mean()) if having.any() else None


def _f1(found: Ranking) -> float:
    recall, precision = float(found.recall.mean()), float(found.precision.mean())

    return 2 * recall * precision / (recall + precision) if recall + precision > 0 else 0.0


def _estimation_error(outcome: Outcome, data: RatingDataset, name: str) -> float | None:
    if outcome.weights is None or data.everywhere is None:
        return None
    weights = _finite(outcome.weights).astype(np.float64)
    prediction = np.clip(data.everywhere.predictions[name], SMALLEST, 1 - SMALLEST)
    entropies = np.where(data.everywhere.label == 1, -np.log(prediction), -np.log1p(-prediction))
    observed = entropies[data.train.users.numpy(), data.train.items.numpy()]

    return relative_error(observed, weights, float(entropies.mean()))


def _finite(values: np.ndarray) -> np.ndarray:
    """Pass on what the method gave, unless it is not finite."""
    if not np.isfinite(values).all():
        raise TrialDiverged("the method's predictions or weights are not finite")

    return values
