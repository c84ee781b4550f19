"""
Ratings missing not at random, with known propensities: the semi-synthetic protocol on real ratings.

A matrix of ratings is completed by matrix factorisation, its predictions are replaced by ratings 1 to 5 of fixed shares according to their ranks, and each
rating has a true probability of a positive label and a propensity to be observed that falls with the distance to the top ratings. Labels and what is
observed are then drawn. The completion depends on the ratings and the start alone, so that many draws share it.

Source: H. Li et al., Debiased Collaborative Filtering with Kernel-Based Causal Balancing, ICLR 2024, arXiv:2404.19596, on ratings that are freely to be
had; after T. Schnabel et al., Recommendations as Treatments, ICML 2016, arXiv:1602.05352.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = [
    "RATING_SHARES",
    "TRUE_PROBABILITIES",
    "Draw",
    "Truth",
    "coarse_predictions",
    "complete_matrix",
    "draw_labels",
    "inverse_propensity_mean",
    "make_truth",
    "most_frequent",
    "naive_bayes_propensities",
    "propensities",
    "ratings_by_rank",
    "rotated_predictions",
    "self_normalised_mean",
    "skewed_predictions",
    "true_probabilities",
]

Floats = NDArray[np.float64]

RATING_SHARES = (0.526, 0.242, 0.144, 0.062, 0.026)  # of the ratings 1 to 5, as people rate items that were drawn for them at random
TRUE_PROBABILITIES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of a positive label, by rating


class Truth(NamedTuple):
    """
    What is fixed before labels are drawn, for each pair of a user and an item.

    Args:
        rating: ``(U, I)`` uint8 in 1..5.
        probability: ``(U, I)`` float64, of a positive label.
        propensity: ``(U, I)`` float64 in (0, 1], of being observed.
    """

    rating: NDArray[np.uint8]
    probability: Floats
    propensity: Floats


class Draw(NamedTuple):
    """
    One draw of labels and of what is observed.

    Args:
        label: ``(U, I)`` uint8 in 0..1.
        observed: ``(U, I)`` bool: the pairs to train on.
        test: ``(U, I)`` bool: as many random items for each user.
        unbiased: ``(U, I)`` bool: a uniform sample of the other pairs, to estimate how frequent positive labels are. Like the test pairs, some may be
            observed too: neither choice looks at what is.
    """

    label: NDArray[np.uint8]
    observed: NDArray[np.bool_]
    test: NDArray[np.bool_]
    unbiased: NDArray[np.bool_]


def complete_matrix(
    users: NDArray[np.integer],
    items: NDArray[np.integer],
    ratings: NDArray[np.number],
    rng: np.random.Generator,
    rank: int = 8,
    ridge: float = 0.1,
    sweeps: int = 12,
) -> Floats:
    """
    Predict all ratings by regularised matrix factorisation with biases, fitted by alternating least squares.

    The prediction is the mean, a bias of the user, one of the item, and the inner product of their vectors; the penalty of a user or item is ``ridge``
    times the number of its ratings times the squared norm of its bias and vector. Takes a fifth of a second on MovieLens-100K.

    Args:
        users: ``(N,)`` in ``0 .. U-1``.
        items: ``(N,)`` in ``0 .. I-1``.
        ratings: ``(N,)``.
        rng: Draws the start: vectors from a normal distribution of standard deviation 0.1.
        rank: Length of the vectors.
        ridge: Penalty a rating.
        sweeps: How often users and items are solved for, users first.

    Returns:
        ``(U, I)``, one more than the largest number in ``users`` and ``items``.
    """
    mean = ratings.mean()
    counts = csr_array((np.ones(len(ratings)), (users, items)))
    residuals = csr_array((ratings - mean, (users, items)))
    # Column 0 is the bias, the others the vector.
    item_side = np.column_stack([np.zeros(counts.shape[1]), rng.normal(0, 0.1, (counts.shape[1], rank))])
    for _ in range(sweeps):
        user_side = _solve_side(item_side, counts, residuals, ridge)
        item_side = _solve_side(user_side, counts.T, residuals.T, ridge)

    return mean + user_side[:, :1] + item_side[:, 0] + user_side[:, 1:] @ item_side[:, 1:].T


def _solve_side(fixed: Floats, counts: csr_array, residuals: csr_array, ridge: float) -> Floats:
    """
    Solve for the bias and vector of each row of the ratings; ``fixed`` holds those of the columns. A row without ratings becomes zero.

    All rows at once: their sums over ratings are products of a sparse matrix.
    """
    design = np.column_stack([np.ones(len(fixed)), fixed[:, 1:]])
    size = design.shape[1]
    squares = counts @ (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    penalties = ridge * np.maximum(counts.sum(axis=1), 1)[:, None, None] * np.eye(size)
    targets = residuals @ design - counts @ (design * fixed[:, :1])

    return np.linalg.solve(squares.reshape(-1, size, size) + penalties, targets[:, :, None])[:, :, 0]


def most_frequent(numbers: NDArray[np.integer], n: int) -> NDArray[np.intp]:
    """Return the ``n`` most frequent of ``numbers``, most frequent first and the smaller first among equals."""
    return np.argsort(-np.bincount(numbers), kind="stable")[:n]


def ratings_by_rank(predictions: Floats, shares: tuple[float, ...] = RATING_SHARES) -> NDArray[np.uint8]:
    """Replace predictions by ratings 1, 2, ... of the given shares: the lowest predictions become 1; ties go by position."""
    bounds = np.round(np.cumsum(shares)[:-1] * predictions.size).astype(int)
    rating = np.empty(predictions.size, dtype=np.uint8)
    for value, places in enumerate(np.split(np.argsort(predictions, axis=None, kind="stable"), bounds), start=1):
        rating[places] = value

    return rating.reshape(predictions.shape)


def true_probabilities(rating: NDArray[np.integer]) -> Floats:
    """Return the probability of a positive label for ratings 1 to 5: .1, .3, .5, .7, .9."""
    return np.array(TRUE_PROBABILITIES)[rating.astype(int) - 1]


def propensities(rating: NDArray[np.integer], alpha: float = 0.5, rate: float = 0.06) -> Floats:
    """
    Return the propensities of ratings 1 to 5: proportional to ``alpha ** max(0, 4 - rating)``, scaled to the mean ``rate``, capped at 1.

    ``alpha`` is 1 where every pair is as likely to be observed as any other.
    """
    shape = float(alpha) ** np.maximum(0, 4 - rating.astype(int))

    return np.minimum(shape * (rate / shape.mean()), 1)


def make_truth(
    users: NDArray[np.integer],
    items: NDArray[np.integer],
    ratings: NDArray[np.number],
    rng: np.random.Generator,
    n_users: int = 300,
    n_items: int = 400,
    alpha: float = 0.5,
    rate: float = 0.06,
) -> Truth:
    """
    Complete the matrix, keep the most active users and most rated items, and give each pair its rating, probability and propensity.

    Args:
        users: As in :func:`complete_matrix`, as are ``items``, ``ratings`` and ``rng``.
        items: See ``users``.
        ratings: See ``users``.
        rng: See ``users``.
        n_users: Users that are kept.
        n_items: Items that are kept.
        alpha: See :func:`propensities`.
        rate: Mean propensity.
    """
    predictions = complete_matrix(users, items, ratings, rng)[np.ix_(most_frequent(users, n_users), most_frequent(items, n_items))]
    rating = ratings_by_rank(predictions)

    return Truth(rating, true_probabilities(rating), propensities(rating, alpha, rate))


def draw_labels(truth: Truth, rng: np.random.Generator, n_test: int = 40, n_unbiased: int = 600) -> Draw:
    """
    Draw labels, what is observed, the test pairs and the unbiased sample, in this order.

    Args:
        truth: See :class:`Truth`.
        rng: The stream of the draw; another than that of the completion.
        n_test: Items a user, drawn without replacement.
        n_unbiased: Pairs in the unbiased sample, none of them a test pair.
    """
    shape = truth.rating.shape
    observed = rng.random(shape) < truth.propensity
    label = (rng.random(shape) < truth.probability).astype(np.uint8)
    test = np.zeros(shape, dtype=np.bool_)
    np.put_along_axis(test, np.argsort(rng.random(shape), axis=1)[:, :n_test], True, axis=1)
    unbiased = np.zeros(shape, dtype=np.bool_)
    unbiased.flat[rng.choice(np.flatnonzero(~test), n_unbiased, replace=False)] = True

    return Draw(label, observed, test, unbiased)


def naive_bayes_propensities(observed_labels: NDArray[np.number], positive_share: float, n_pairs: int) -> Floats:
    """
    Return the propensity of each observed pair by Bayes's rule: ``P(o | r) = P(r | o) P(o) / P(r)``.

    Args:
        observed_labels: ``(N,)`` in 0..1, the labels of the observed pairs.
        positive_share: ``P(r = 1)`` among all pairs, from an unbiased sample.
        n_pairs: All pairs; ``P(o)`` is ``N / n_pairs``.

    Raises:
        ValueError: ``positive_share`` rules out a label.
    """
    if not 0 < positive_share < 1:
        raise ValueError(f"positive_share must lie in (0, 1), it is {positive_share}")
    among_observed = observed_labels.mean()
    negative, positive = (
        given_observed * len(observed_labels) / (n_pairs * share)
        for given_observed, share in ((1 - among_observed, 1 - positive_share), (among_observed, positive_share))
    )

    return np.where(observed_labels == 1, positive, negative)


def inverse_propensity_mean(errors: Floats, propensity: Floats, n_pairs: int) -> float:
    """Estimate the mean error of all pairs from the ``(N,)`` errors and propensities of the observed ones; unbiased where the propensities are true."""
    return float((errors / propensity).sum() / n_pairs)


def self_normalised_mean(errors: Floats, propensity: Floats) -> float:
    """As :func:`inverse_propensity_mean`, divided by the sum of the weights instead of the number of pairs; equal propensities give the naive mean."""
    return float(np.average(errors, weights=1 / propensity))


def rotated_predictions(rating: NDArray[np.integer]) -> Floats:
    """Predict the probability of the next lower rating, and for rating 1 that of 5."""
    return np.roll(TRUE_PROBABILITIES, 1)[rating.astype(int) - 1]


def coarse_predictions(probability: Floats) -> Floats:
    """Predict .3 where the true probability is at least .6, else .6."""
    return np.where(probability >= 0.6, 0.3, 0.6)


def skewed_predictions(probability: Floats, rng: np.random.Generator) -> Floats:
    """Predict the true probability with normal noise of standard deviation ``(1 - probability) / 2``, clipped to [.1, .9]."""
    return np.clip(rng.normal(probability, (1 - probability) / 2), 0.1, 0.9)
