"""Firth's logistic regression (1993): a penalised likelihood that takes away the first-order bias and stays finite under separation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, log_expit

from plugins.tasks.rare_events.baselines.logistic import LogisticModel, standardised

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = ["Firth", "firth_score", "fit_firth", "leverages"]

MOST_ITERATIONS = 200
MOST_HALVINGS = 30
SETTLED = 1e-10  # of the score's squared length in the metric of the information


def firth_score(design: np.ndarray, t: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the derivative of ``log-likelihood + log det(I) / 2``, ``(d,)``, and the information ``I``, ``(d, d)``.

    The score is ``sum_i (t_i - p_i + h_i (1/2 - p_i)) x_i`` with the leverages ``h_i`` of the weighted regression.

    Args:
        design: ``(n, d)``, the intercept's column included.
        t: ``(n,)``, 0 or 1.
        weights: ``(d,)``.
    """
    p = expit(design @ weights)
    spread = p * (1 - p)
    information = design.T @ (spread[:, None] * design)

    return design.T @ (t - p + leverages(design, spread, information) * (0.5 - p)), information


def leverages(design: np.ndarray, spread: np.ndarray, information: np.ndarray) -> np.ndarray:
    """
    Return the diagonal of the hat matrix of a logistic regression, ``(n,)``, whose sum is the rank of the design.

    Args:
        design: ``(n, d)``, the intercept's column included.
        spread: ``(n,)``, the variances ``p_i (1 - p_i)``.
        information: ``(d, d)``, ``design.T @ diag(spread) @ design``.
    """
    leverage: np.ndarray = spread * np.einsum("ij,ij->i", design @ np.linalg.pinv(information, hermitian=True), design)

    return leverage


def fit_firth(x: np.ndarray, t: np.ndarray) -> LogisticModel:
    """Fit ``(n, p)`` points to ``(n,)`` labels 0 or 1 by Newton steps, halved while the penalised likelihood falls."""
    scaled, mean, scale = standardised(x)
    varying = x.std(axis=0) > 0
    design = np.concatenate((np.ones((len(x), 1)), scaled[:, varying]), axis=1)
    weights = np.zeros(design.shape[1])
    weights[0] = np.log((t.sum() + 0.5) / ((1 - t).sum() + 0.5))
    value = _penalised_likelihood(design, t, weights)
    for _ in range(MOST_ITERATIONS):
        score, information = firth_score(design, t, weights)
        step = np.linalg.pinv(information, hermitian=True) @ score
        if score @ step < SETTLED:
            break
        for _ in range(MOST_HALVINGS):
            proposal = _penalised_likelihood(design, t, weights + step)
            if proposal > value:
                break
            step = step / 2
        else:
            break
        weights, value = weights + step, proposal
    slopes = np.zeros(x.shape[1])
    slopes[varying] = weights[1:] / scale[varying]

    return LogisticModel(float(weights[0] - mean @ slopes), slopes)


def _penalised_likelihood(design: np.ndarray, t: np.ndarray, weights: np.ndarray) -> float:
    eta = design @ weights
    p = expit(eta)
    eigenvalues = np.linalg.eigvalsh(design.T @ ((p * (1 - p))[:, None] * design))
    positive = eigenvalues[eigenvalues > 1e-12 * eigenvalues.max()]  # columns that depend on others add a constant, not minus infinity

    return float(log_expit(np.where(t == 1, eta, -eta)).sum() + np.log(positive).sum() / 2)


@dataclass
class Firth:
    """Fit the rare class against the rest with Firth's correction (Biometrika 80(1), 1993; for logistic regression: Heinze & Schemper 2002)."""

    def fit(self, data: OrdinalTraining, run: Run) -> LogisticModel:
        """Fit."""
        return fit_firth(data.x, data.is_rare)
