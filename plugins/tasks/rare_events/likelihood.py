"""
The cumulative logit model with weights of its own for every boundary: probabilities, log-likelihood, score and information.

Classes are numbered 0 ... K-1, the rare one last; boundary ``k`` of the ``q = K - 1`` lies above class ``k``. With ``eta[:, k]`` the logit of
``P(y <= k | x)``, class ``k`` has the probability ``sigma(eta_k) - sigma(eta_{k-1})``. Nothing keeps the boundaries in order: where they cross, a
probability is negative, and the model is not admissible there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, xlogy

__all__ = ["Curvature", "class_probabilities", "curvature", "log_likelihood"]

SMALLEST_PROBABILITY = 1e-150  # its square is still a number


class Curvature(NamedTuple):
    """
    First and second order of the log-likelihood in the logits of the boundaries.

    Args:
        score: ``(n, q)``, derivatives of the log-likelihood of each row.
        diagonal: ``(n, q)``, information of each boundary: the negative second derivative.
        beside: ``(n, q - 1)``, information between a boundary and the next; of boundaries further apart it is 0.
    """

    score: np.ndarray
    diagonal: np.ndarray
    beside: np.ndarray


def class_probabilities(eta: np.ndarray) -> np.ndarray:
    """
    Return the probabilities of the classes, ``(n, K)``; rows sum to 1, and where boundaries cross an entry is negative.

    Args:
        eta: ``(n, q)``, the logits of ``P(y <= k)``.
    """
    below = expit(eta)

    # The last class from the other tail: 1 - sigma(eta) would lose the digits of a small probability.
    return np.concatenate((below[:, :1], np.diff(below, axis=1), expit(-eta[:, -1:])), axis=1)


def log_likelihood(eta: np.ndarray, counts: np.ndarray) -> float:
    """
    Return the log-likelihood of class counts; minus infinity where any probability is negative, of a class that occurs or not, or a class that occurs has 0.

    Args:
        eta: ``(n, q)``.
        counts: ``(n, K)``, how often each class was observed with each row.
    """
    probabilities = class_probabilities(eta)
    if (probabilities < 0).any():
        return -np.inf

    return float(xlogy(counts, probabilities).sum())


def curvature(eta: np.ndarray, counts: np.ndarray) -> Curvature:
    """
    Return score and observed information; the log-likelihood is concave in the logits, so the information is positive semi-definite.

    Args:
        eta: ``(n, q)``, boundaries in order: every probability is positive.
        counts: ``(n, K)``, how often each class was observed with each row, not necessarily whole numbers.
    """
    below, above = expit(eta), expit(-eta)
    slope = below * above
    bend = slope * (above - below)
    probabilities = np.maximum(class_probabilities(eta), SMALLEST_PROBABILITY)
    once = counts / probabilities
    twice = once / probabilities
    gain = once[:, :-1] - once[:, 1:]

    return Curvature(
        score=slope * gain,
        diagonal=slope**2 * (twice[:, :-1] + twice[:, 1:]) - bend * gain,
        beside=-slope[:, :-1] * slope[:, 1:] * twice[:, 1:-1],
    )
