"""Cumulative logit models without a penalty: the same weights at every boundary, or other ones at each. Both are corners of PRESTO's solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from plugins.tasks.rare_events.ordinal_model import OrdinalModel
from plugins.tasks.rare_events.solver import CumulativeFit, Penalty, fit_one, prepare

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = ["NonParallel", "ProportionalOdds", "fit_non_parallel", "fit_proportional_odds"]


def fit_proportional_odds(x: np.ndarray, y: np.ndarray, n_classes: int) -> CumulativeFit:
    """
    Maximise the likelihood of ``logit P(y <= k) = alpha_k + x'beta``.

    Args:
        x: ``(n, p)``.
        y: ``(n,)``, classes 0 ... K-1; every class occurs.
        n_classes: K.

    Returns:
        The fit; all columns of its weights are equal. Positive weights lower the class: MASS's ``polr`` and statsmodels' ``OrderedModel`` have the other sign.
    """
    differences = np.full(n_classes - 1, np.inf)
    differences[0] = 0.0

    return fit_one(prepare(x, y, n_classes), Penalty(1.0, differences), 0.0)


def fit_non_parallel(x: np.ndarray, y: np.ndarray, n_classes: int) -> CumulativeFit:
    """
    Maximise the likelihood of ``logit P(y <= k) = alpha_k + x'beta_k`` as far as all probabilities of the training points stay positive.

    The maximum may not exist (a class that can be separated), or lie where boundaries cross; the search then ends at the edge, short of it.

    Args:
        x: ``(n, p)``.
        y: ``(n,)``, classes 0 ... K-1; every class occurs.
        n_classes: K.
    """
    return fit_one(prepare(x, y, n_classes), Penalty(1.0, np.zeros(n_classes - 1)), 0.0)


@dataclass
class ProportionalOdds:
    """Fit the same weights at every boundary (McCullagh 1980), a baseline of the PRESTO paper."""

    def fit(self, data: OrdinalTraining, run: Run) -> OrdinalModel:
        """Fit by maximum likelihood."""
        fit = fit_proportional_odds(data.x, data.y, data.n_classes)

        return OrdinalModel(fit.intercepts, fit.weights)


@dataclass
class NonParallel:
    """Fit weights of its own for every boundary, without a penalty; common practice, and PRESTO at strength 0."""

    def fit(self, data: OrdinalTraining, run: Run) -> OrdinalModel:
        """Fit by maximum likelihood, or as near to it as the boundaries allow."""
        fit = fit_non_parallel(data.x, data.y, data.n_classes)

        return OrdinalModel(fit.intercepts, fit.weights)
