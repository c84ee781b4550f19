"""The semi-parallel elastic net of `ordinalNet` (Wurm, Hanlon & Rathouz 2021): weights that all boundaries share and weights of each, both shrunk to 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from scipy.special import logit

from harness import Search
from plugins.tasks.rare_events.baselines.logistic import standardised
from plugins.tasks.rare_events.descent import descend
from plugins.tasks.rare_events.likelihood import class_probabilities, curvature, log_likelihood
from plugins.tasks.rare_events.ordinal_model import OrdinalModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = ["SemiParallel", "SemiParallelFit", "fit_semi_parallel_path", "strength_grid"]

TOLERANCE = 1e-11  # relative decrease of the objective at which Newton steps end
MOST_ITERATIONS = 100
MOST_HALVINGS = 20
SMALLEST_MIX = 0.01  # in the greatest strength, which is infinite for a ridge


class SemiParallelFit(NamedTuple):
    """
    A fitted model, ``logit P(y <= k) = intercepts_k + x'(parallel + own_k)``, on the scale of the data.

    Args:
        intercepts: ``(q,)``.
        parallel: ``(p,)``.
        own: ``(p, q)``.
        objective: ``-log-likelihood / n`` and the penalty, on standardised columns.
    """

    intercepts: np.ndarray
    parallel: np.ndarray
    own: np.ndarray
    objective: float

    def model(self) -> OrdinalModel:
        """Return what predicts."""
        return OrdinalModel(self.intercepts, self.parallel[:, None] + self.own)


class _Problem:
    """
    The objective on standardised columns: ``-log-likelihood / n + strength * sum_j c_j (mix |theta_j| + (1 - mix) / 2 theta_j ** 2)``.

    ``theta`` holds q intercepts, whose ``c`` is 0, p parallel weights, whose ``c`` is ``parallel_share``, and q times p own weights, whose ``c`` is 1.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, n_classes: int, mix: float, parallel_share: float) -> None:
        n, p = x.shape
        q = n_classes - 1
        scaled, self.mean, self.scale = standardised(x)
        self.rows = np.column_stack((np.ones(n), scaled))
        self.counts = np.eye(n_classes)[y]
        self.mix, self.costs = mix, np.concatenate((np.zeros(q), np.full(p, parallel_share), np.ones(q * p)))
        # [k, i]: of boundary k's intercept (i = 0) and weights, as sums of entries of theta
        self.spread = np.zeros((q, p + 1, len(self.costs)))
        for k in range(q):
            self.spread[k, 0, k] = 1
            self.spread[k, 1:, q : q + p] = np.eye(p)
            self.spread[k, 1:, q + p + k * p : q + p + (k + 1) * p] = np.eye(p)
        self.start = np.zeros(len(self.costs))
        self.start[:q] = logit(np.cumsum(self.counts.mean(axis=0))[:-1])

    def logits(self, theta: np.ndarray) -> np.ndarray:
        return self.rows @ (self.spread @ theta).T

    def objective(self, theta: np.ndarray, strength: float) -> float:
        penalty = self.mix * np.abs(theta) + (1 - self.mix) / 2 * theta**2

        return -log_likelihood(self.logits(theta), self.counts) / len(self.rows) + strength * float(self.costs @ penalty)

    def quadratic(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the slopes of the mean log-likelihood, ``(d,)``, and its information, ``(d, d)``."""
        score, diagonal, beside = curvature(self.logits(theta), self.counts)
        n, q = score.shape
        slopes = np.einsum("ki,kid->d", (self.rows.T @ score).T, self.spread)
        information = np.zeros((len(theta), len(theta)))
        for k in range(q):
            information += self.spread[k].T @ (self.rows.T @ (diagonal[:, k : k + 1] * self.rows)) @ self.spread[k]
        for k in range(q - 1):
            block = self.spread[k].T @ (self.rows.T @ (beside[:, k : k + 1] * self.rows)) @ self.spread[k + 1]
            information += block + block.T

        return slopes / n, information / n

    def minimise(self, strength: float, theta: np.ndarray) -> np.ndarray:
        """Go down by Newton steps, each halved until the objective falls; where boundaries would cross it is infinite."""
        absolute, squared = strength * self.mix * self.costs, strength * (1 - self.mix) * self.costs
        value = self.objective(theta, strength)
        for _ in range(MOST_ITERATIONS):
            slopes, information = self.quadratic(theta)
            step = descend(information, information @ theta + slopes, absolute, squared, theta) - theta
            for share in 0.5 ** np.arange(MOST_HALVINGS):
                proposal = theta + share * step
                lower = self.objective(proposal, strength)
                if lower < value:
                    break
            else:
                break
            decrease = (value - lower) / abs(value)
            theta, value = proposal, lower
            if decrease < TOLERANCE:
                break

        return theta

    def fit(self, theta: np.ndarray, strength: float) -> SemiParallelFit:
        p, q = len(self.scale), self.counts.shape[1] - 1
        parallel = theta[q : q + p] / self.scale
        own = theta[q + p :].reshape(q, p).T / self.scale[:, None]

        return SemiParallelFit(theta[:q] - self.mean @ (parallel[:, None] + own), parallel, own, self.objective(theta, strength))


def fit_semi_parallel_path(
    x: np.ndarray, y: np.ndarray, n_classes: int, mix: float, parallel_share: float, strengths: Sequence[float] | np.ndarray
) -> list[SemiParallelFit]:
    """
    Fit along falling strengths, each from the solution before.

    The minimum may lie where boundaries meet at a training point; the descent then ends short of it.

    Args:
        x: ``(n, p)``.
        y: ``(n,)``, classes 0 ... K-1; every class occurs.
        n_classes: K.
        mix: Share of the L1 penalty, in [0, 1].
        parallel_share: What the penalty of the parallel weights is multiplied by; 0 leaves them free.
        strengths: Falling.
    """
    problem = _Problem(x, y, n_classes, mix, parallel_share)
    theta, fits = problem.start, []
    for strength in strengths:
        theta = problem.minimise(float(strength), theta)
        fits.append(problem.fit(theta, float(strength)))

    return fits


def strength_grid(
    x: np.ndarray, y: np.ndarray, n_classes: int, mix: float, parallel_share: float, count: int, smallest_ratio: float
) -> np.ndarray:
    """
    Return strengths from the smallest that keeps all penalised weights at 0 down to ``smallest_ratio`` times that, ``(count,)``, equal ratios.

    Arguments as of :func:`fit_semi_parallel_path`. For ``mix`` below 0.01 it starts as for 0.01, since no ridge penalty keeps weights at 0; parallel weights
    that are free are at their optimum.
    """
    problem = _Problem(x, y, n_classes, mix, parallel_share)
    penalised = problem.costs > 0
    lasso = _Problem(x, y, n_classes, 1.0, parallel_share)  # at such a strength what is penalised stays at 0
    slopes, _ = problem.quadratic(lasso.minimise(1e6, lasso.start))
    greatest = float((np.abs(slopes[penalised]) / problem.costs[penalised]).max()) / max(mix, SMALLEST_MIX)

    return np.geomspace(greatest, smallest_ratio * greatest, count)


@dataclass
class SemiParallel:
    """
    Fit cumulative logits with an elastic net on parallel and own weights (arXiv:1706.05003); its strength by cross-validation.

    The strength is chosen as PRESTO chooses its own, by the Brier score of all classes; the package's default is the log-likelihood, which is minus infinity
    wherever boundaries cross.

    Args:
        mix: Share of the L1 penalty.
        parallel_share: What the penalty of the parallel weights is multiplied by; 0 penalises departures from proportional odds alone.
        n_strengths: Points of the grid of strengths.
        smallest_ratio: Its smallest strength, as a share of the one that keeps all weights at 0.
        n_folds: Of the cross-validation, sharing out the classes evenly.
    """

    mix: Annotated[float, Ge(0), Le(1), Search(choices=(0.0, 0.5, 1.0))] = 1.0
    parallel_share: Annotated[float, Ge(0), Le(1), Search(choices=(0.0, 0.5, 1.0))] = 1.0
    n_strengths: Annotated[int, Ge(2)] = 20
    smallest_ratio: Annotated[float, Gt(0), Lt(1), Search(1e-4, 1e-1, log=True)] = 0.01
    n_folds: Annotated[int, Ge(2)] = 5

    def fit(self, data: OrdinalTraining, run: Run) -> OrdinalModel:
        """Choose the greatest strength of the smallest held-out Brier score, and fit all of the training set along the path to it."""
        from sklearn.model_selection import StratifiedKFold

        x, y, n_classes = data.x, data.y, data.n_classes
        strengths = strength_grid(x, y, n_classes, self.mix, self.parallel_share, self.n_strengths, self.smallest_ratio)
        folds = StratifiedKFold(self.n_folds, shuffle=True, random_state=run.derive_seed("folds") % 2**31)
        scores = np.zeros(len(strengths))
        for seen, held_out in folds.split(x, y):
            path = fit_semi_parallel_path(x[seen], y[seen], n_classes, self.mix, self.parallel_share, strengths)
            for place, found in enumerate(path):
                model = found.model()
                wrong = class_probabilities(model.intercepts + x[held_out] @ model.weights) - np.eye(n_classes)[y[held_out]]
                scores[place] += (wrong**2).sum(axis=1).mean() / self.n_folds
        best = int(np.argmin(scores))

        return fit_semi_parallel_path(x, y, n_classes, self.mix, self.parallel_share, strengths[: best + 1])[-1].model()
