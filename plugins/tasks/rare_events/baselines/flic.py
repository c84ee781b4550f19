"""FLIC and FLAC (Puhr et al. 2017): Firth's logistic regression without its pull of the mean probability towards one half."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from plugins.tasks.rare_events.baselines.firth import fit_firth, leverages
from plugins.tasks.rare_events.baselines.logistic import LogisticModel, standardised

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = ["Flac", "Flic", "fit_flac", "fit_flic"]


def fit_flic(x: np.ndarray, t: np.ndarray) -> LogisticModel:
    """Fit ``(n, p)`` points to ``(n,)`` labels 0 or 1, of which both occur: the slopes of Firth, and the intercept that is most likely with them."""
    weights = fit_firth(x, t).weights
    eta, rate = x @ weights, t.mean()

    def excess(intercept: float) -> float:
        return float(expit(intercept + eta).mean() - rate)

    # At the ends no probability is above the rate, and none below it; rounding must not turn that around.
    intercept = brentq(excess, logit(rate) - eta.max() - 1e-6, logit(rate) - eta.min() + 1e-6, xtol=1e-12)

    return LogisticModel(float(intercept), weights)


def fit_flac(x: np.ndarray, t: np.ndarray) -> LogisticModel:
    """
    Fit ``(n, p)`` points to ``(n,)`` labels 0 or 1, of which both occur, by maximum likelihood with pseudo samples that an indicator sets apart.

    Firth's estimate is that of the samples and, of half the weight of its leverage each, copies of them with both labels. FLAC gives the copies an intercept of
    their own, and predicts without it.
    """
    from sklearn.linear_model import LogisticRegression

    n, (scaled, mean, scale) = len(x), standardised(x)
    p = fit_firth(x, t).probabilities(x)
    points, spread = np.column_stack((np.ones(n), scaled)), p * (1 - p)
    half = leverages(points, spread, points.T @ (spread[:, None] * points)) / 2
    design = np.column_stack((np.tile(scaled, (3, 1)), np.repeat([0.0, 1.0, 1.0], n)))
    solver = LogisticRegression(C=np.inf, solver="lbfgs", tol=1e-10, max_iter=5000)
    solver.fit(design, np.concatenate((t, t, 1 - t)), sample_weight=np.concatenate((np.ones(n), half, half)))
    weights = solver.coef_[0, :-1] / scale

    return LogisticModel(float(solver.intercept_[0] - mean @ weights), weights)


@dataclass
class Flic:
    """Correct the intercept of Firth's regression of the rare class against the rest; the ranking is Firth's (Statistics in Medicine 36(14), 2017)."""

    def fit(self, data: OrdinalTraining, run: Run) -> LogisticModel:
        """Fit."""
        return fit_flic(data.x, data.is_rare)


@dataclass
class Flac:
    """Correct Firth's regression of the rare class against the rest by an added covariate (Statistics in Medicine 36(14), 2017)."""

    def fit(self, data: OrdinalTraining, run: Run) -> LogisticModel:
        """Fit."""
        return fit_flac(data.x, data.is_rare)
