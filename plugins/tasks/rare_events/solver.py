"""
The exact solver of cumulative logit models whose differences between boundaries are penalised, PRESTO's among them.

Newton steps outside, coordinate descent inside (:mod:`plugins.tasks.rare_events.descent`), warm starts along a path of penalties.

The weights of boundary ``k`` are ``beta_k = psi_0 + ... + psi_k``, so that ``psi_k`` is what boundary ``k`` has beyond the one before. The objective, on
columns of mean 0 and standard deviation 1, is

    J = -log-likelihood / n + lambda * sum_kj w_k (mix |psi_kj| + (1 - mix) / 2 psi_kj**2),

with intercepts free. Weights ``w`` of 1 are PRESTO; 0 at ``psi_0`` leaves the first boundary free; infinity at all but ``psi_0`` is the proportional odds
model; 0 everywhere is the non-parallel one. With two classes it is penalised logistic regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import logit

from plugins.tasks.rare_events.descent import descend
from plugins.tasks.rare_events.likelihood import Curvature, class_probabilities, curvature, log_likelihood

__all__ = ["CumulativeFit", "Design", "Penalty", "fit_one", "fit_path", "penalty_grid", "prepare"]

OUTER_TOLERANCE = 1e-12  # relative decrease of the objective; at the 1e-8 of the released code weights have but three digits
MOST_ITERATIONS = 100
MOST_HALVINGS = 10
TO_THE_EDGE = 0.95  # share of the way to where a probability is 0 that a step may go

# Weights of an observation of every class at every observed point. The first is what a fit has whose minimum is inside: it moves J by about 1e-9. Where the
# minimum is at the edge, Newton steps stick to it from the outset; the others lead there from within, the last to about 1e-7 in J.
BARRIER = 1e-10
BARRIERS_TO_THE_EDGE = (1e-2, 1e-4, 1e-6, 1e-8)
ON_THE_WAY = 1e-5  # relative decrease at which all but the last are left
FLAT = 1e-8  # relative change of the log-likelihood from one penalty to the next below which the path repeats its last fit
SMALLEST_MIX = 0.01  # in the greatest penalty, which is infinite for a ridge


class Penalty(NamedTuple):
    """
    The penalty without its strength.

    Args:
        mix: Share of the L1 penalty, in [0, 1]; the rest is L2.
        weights: ``(q,)``, at least 0, of each ``psi_k``; infinity keeps it at 0.
    """

    mix: float
    weights: np.ndarray


@dataclass(frozen=True)
class Design:
    """
    Observations, standardised, with equal rows counted instead of repeated, which changes no sum and makes tables of few distinct rows small.

    Args:
        x: ``(m, p)`` distinct rows; over all observations each column has mean 0 and standard deviation 1, or is 0 if it is constant.
        counts: ``(m, K)``, how often each class was observed with each row.
        mean: ``(p,)``, of the columns as given.
        scale: ``(p,)``, their population standard deviations, 1 where a column is constant.
    """

    x: np.ndarray
    counts: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @property
    def n(self) -> float:
        """Number of observations."""
        return float(self.counts.sum())

    @property
    def boundaries(self) -> int:
        """Number q of boundaries, one less than classes."""
        return self.counts.shape[1] - 1


@dataclass(frozen=True)
class CumulativeFit:
    """
    A fitted model.

    Args:
        intercepts: ``(q,)``, on the scale of the data.
        weights: ``(p, q)``; column ``k`` belongs to the boundary above class ``k``. Positive lowers the class.
        strength: lambda.
        log_likelihood: Of the training data, summed.
        objective: J.
        trace: J, with the last barrier, after each Newton step, the start first.
        residual: Largest violation of the optimality conditions, in units of J per unit of a standardised weight.
        parameters: ``(q + q p,)``, intercepts and ``psi`` on standardised columns.
    """

    intercepts: np.ndarray
    weights: np.ndarray
    strength: float
    log_likelihood: float
    objective: float
    trace: tuple[float, ...]
    residual: float
    parameters: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes, ``(n, K)``, negative where boundaries cross; ``x`` is ``(n, p)``."""
        return class_probabilities(self.intercepts + x @ self.weights)


def prepare(x: np.ndarray, y: np.ndarray, n_classes: int) -> Design:
    """
    Standardise the columns and count equal rows.

    Args:
        x: ``(n, p)`` float64, finite.
        y: ``(n,)``, classes 0 ... K-1.
        n_classes: K, at least 2.

    Raises:
        ValueError: A class has no observation: its boundary would be infinite.
    """
    present = np.bincount(y, minlength=n_classes)
    if (present == 0).any():
        raise ValueError(f"class {int(np.argmin(present))} of {n_classes} has no observation; a boundary beside it cannot be estimated")
    mean, scale = x.mean(axis=0), x.std(axis=0)
    constant = scale <= 1e-12 * np.maximum(1.0, np.abs(mean))  # rounding leaves a constant column a scale of about 1e-16
    rows, place = np.unique(x, axis=0, return_inverse=True)
    counts = np.zeros((len(rows), n_classes))
    np.add.at(counts, (place.reshape(-1), y), 1.0)
    scale = np.where(constant, 1.0, scale)

    return Design(np.ascontiguousarray(np.where(constant, 0.0, (rows - mean) / scale)), counts, mean, scale)


def fit_one(design: Design, penalty: Penalty, strength: float, start: np.ndarray | None = None) -> CumulativeFit:
    """
    Minimise J for one strength of the penalty.

    Newton steps stop when the objective decreases by less than a relative 1e-12, after 100 iterations, or when ten halvings of a step do not bring it down;
    ``residual`` tells how far from the minimum that is. Where a step would leave the models whose probabilities are all positive, as where a class was never
    seen at a point that is often seen, the minimum may lie at their edge and is approached from within, by barriers that fall.

    Args:
        design: The observations.
        penalty: What is penalised.
        strength: lambda, at least 0.
        start: ``(q + q p,)``, where to start; by default the fit of intercepts alone.
    """
    absolute, squared = _coordinate_penalties(design, penalty, strength)
    inside = _intercepts_only(design)
    found = _newton(design, absolute, squared, inside if start is None else start, BARRIER)
    if found.met_the_edge:
        found = found._replace(parameters=inside)
        for barrier in BARRIERS_TO_THE_EDGE:
            tolerance = OUTER_TOLERANCE if barrier == BARRIERS_TO_THE_EDGE[-1] else ON_THE_WAY
            found = _newton(design, absolute, squared, found.parameters, barrier, tolerance, stop_at_the_edge=False)

    return _on_the_scale_of_the_data(design, strength, _objective(design, found.parameters, absolute, squared), found)


def penalty_grid(design: Design, penalty: Penalty, count: int, smallest_ratio: float) -> np.ndarray:
    """
    Return strengths from the smallest one that keeps all penalised weights at 0 down to ``smallest_ratio`` times that, ``(count,)``, equal ratios.

    For ``mix`` below 0.01 it starts as for 0.01, since no ridge penalty keeps weights at 0.

    Raises:
        ValueError: Nothing is penalised, or no column has anything to do with the classes.
    """
    penalised = np.isfinite(penalty.weights) & (penalty.weights > 0)
    if not penalised.any():
        raise ValueError("no weight has a finite penalty, so there is no grid of its strengths")
    null = penalty._replace(weights=np.where(penalised, np.inf, penalty.weights))
    slopes, _ = _quadratic(design, fit_one(design, null, 0.0).parameters)
    by_boundary = np.abs(slopes[design.boundaries :].reshape(design.boundaries, -1))[penalised] / penalty.weights[penalised, None]
    greatest = float(by_boundary.max(initial=0.0)) / max(penalty.mix, SMALLEST_MIX)
    if greatest <= 0:
        raise ValueError("no column has a slope at the fit of intercepts alone: all columns are constant")

    return np.geomspace(greatest, smallest_ratio * greatest, count)


def fit_path(design: Design, penalty: Penalty, strengths: Sequence[float] | np.ndarray) -> list[CumulativeFit]:
    """
    Fit along falling strengths, each from the solution before.

    From the third on, a strength that changes the log-likelihood by less than a relative 1e-8 ends the path: the rest repeats that fit.
    """
    fits: list[CumulativeFit] = []
    for position, strength in enumerate(strengths):
        fits.append(fit_one(design, penalty, float(strength), fits[-1].parameters if fits else None))
        if position >= 2 and abs(fits[-1].log_likelihood / fits[-2].log_likelihood - 1) < FLAT:
            fits += [fits[-1]] * (len(strengths) - len(fits))
            break

    return fits


def _coordinate_penalties(design: Design, penalty: Penalty, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the L1 and L2 weights of each coordinate; an infinite weight is L1's, whatever the mix and the strength."""
    q, p = design.boundaries, design.x.shape[1]
    kept_at_zero = np.isinf(penalty.weights)
    finite = np.where(kept_at_zero, 0.0, penalty.weights)
    absolute = np.where(kept_at_zero, np.inf, strength * penalty.mix * finite)
    squared = strength * (1 - penalty.mix) * finite

    return np.concatenate((np.zeros(q), np.repeat(absolute, p))), np.concatenate((np.zeros(q), np.repeat(squared, p)))


def _intercepts_only(design: Design) -> np.ndarray:
    """Return the parameters that reproduce the frequencies of the classes."""
    q, p = design.boundaries, design.x.shape[1]
    below = np.cumsum(design.counts.sum(axis=0))[:-1] / design.n

    return np.concatenate((logit(below), np.zeros(q * p)))


def _logits(design: Design, parameters: np.ndarray) -> np.ndarray:
    q = design.boundaries
    psi = parameters[q:].reshape(q, -1)

    return parameters[:q] + design.x @ np.cumsum(psi, axis=0).T


def _objective(design: Design, parameters: np.ndarray, absolute: np.ndarray, squared: np.ndarray) -> float:
    kept = np.where(np.isinf(absolute), 0.0, absolute)
    penalty = (kept * np.abs(parameters) + squared / 2 * parameters**2).sum()

    return float(-log_likelihood(_logits(design, parameters), design.counts) / design.n + penalty)


def _quadratic(design: Design, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivative of the mean log-likelihood, ``(d,)``, and its information, ``(d, d)``, in intercepts and psi."""
    terms = curvature(_logits(design, parameters), design.counts)
    return _slopes(design, terms) / design.n, _information(design, terms) / design.n


def _slopes(design: Design, terms: Curvature) -> np.ndarray:
    by_boundary = terms.score.T @ design.x
    of_psi = np.cumsum(by_boundary[::-1], axis=0)[::-1]  # psi_l moves the boundaries l and above

    return np.concatenate((terms.score.sum(axis=0), of_psi.reshape(-1)))


def _information(design: Design, terms: Curvature) -> np.ndarray:
    """Build D'WD from products of ``(p + 1)`` columns for neighbouring boundaries alone, instead of rows of ``q (p + 1)`` columns."""
    q, p = design.boundaries, design.x.shape[1]
    extended = np.concatenate((np.ones((len(design.x), 1)), design.x), axis=1)
    blocks = np.zeros((q, q, p + 1, p + 1))
    for k in range(q):
        blocks[k, k] = extended.T @ (terms.diagonal[:, k, None] * extended)
        if k + 1 < q:
            blocks[k, k + 1] = blocks[k + 1, k] = extended.T @ (terms.beside[:, k, None] * extended)

    # An intercept moves its own boundary; psi_l moves the boundaries l and above, hence sums from the right, over rows and columns each.
    blocks[:, :, 1:, :] = np.cumsum(blocks[::-1, :, 1:, :], axis=0)[::-1]
    blocks[:, :, :, 1:] = np.cumsum(blocks[:, ::-1, :, 1:], axis=1)[:, ::-1]
    information = np.empty((q + q * p, q + q * p))
    information[:q, :q] = blocks[:, :, 0, 0]
    information[:q, q:] = blocks[:, :, 0, 1:].reshape(q, q * p)
    information[q:, :q] = information[:q, q:].T
    information[q:, q:] = blocks[:, :, 1:, 1:].transpose(0, 2, 1, 3).reshape(q * p, q * p)

    return information


def _minimise_quadratic(
    information: np.ndarray, target: np.ndarray, absolute: np.ndarray, squared: np.ndarray, start: np.ndarray
) -> np.ndarray:
    free = np.isfinite(absolute)
    if (absolute[free] > 0).any():
        return descend(information, target, absolute, squared, start)
    system = information[np.ix_(free, free)] + np.diag(squared[free])
    solution = np.zeros_like(start)
    # lstsq and not solve: constant columns, and dummies that sum to 1, make the system singular without an L1 penalty
    solution[free] = np.linalg.lstsq(system, target[free], rcond=None)[0]

    return solution


class _Found(NamedTuple):
    """Where Newton steps ended, the objectives on the way, the violation of the optimality conditions, and whether a step went for the edge."""

    parameters: np.ndarray
    trace: tuple[float, ...]
    residual: float
    met_the_edge: bool


def _newton(
    design: Design,
    absolute: np.ndarray,
    squared: np.ndarray,
    start: np.ndarray,
    barrier: float,
    tolerance: float = OUTER_TOLERANCE,
    stop_at_the_edge: bool = True,
) -> _Found:
    guarded = replace(design, counts=design.counts + barrier * design.counts.sum(axis=1, keepdims=True))
    free = np.isfinite(absolute)
    parameters = np.where(free, start, 0.0)
    objective = _objective(guarded, parameters, absolute, squared)
    trace, met_the_edge = [objective], False
    for _ in range(MOST_ITERATIONS):
        slopes, information = _quadratic(guarded, parameters)
        proposal = _minimise_quadratic(information, information @ parameters + slopes, absolute, squared, parameters)
        step = min(1.0, TO_THE_EDGE * _way_to_the_edge(_logits(design, parameters), _logits(design, proposal)))
        met_the_edge |= step < 1
        if met_the_edge and stop_at_the_edge:
            break
        better, lower = _halved(guarded, parameters, proposal, step, objective, absolute, squared)
        if lower >= objective:
            break
        decrease = (objective - lower) / max(abs(objective), 1e-300)
        parameters, objective = better, lower
        trace.append(objective)
        if decrease < tolerance:
            break
    slopes, _ = _quadratic(guarded, parameters)

    return _Found(parameters, tuple(trace), _residual(parameters, slopes, absolute, squared, free), met_the_edge)


def _halved(
    design: Design, old: np.ndarray, proposal: np.ndarray, step: float, objective: float, absolute: np.ndarray, squared: np.ndarray
) -> tuple[np.ndarray, float]:
    """Go a share of the way to the proposal, half as far until the objective falls; return where that is, and its objective."""
    better = proposal if step == 1.0 else old + step * (proposal - old)
    lower = _objective(design, better, absolute, squared)
    for _ in range(MOST_HALVINGS):
        if lower < objective:
            break
        step /= 2
        better = old + step * (proposal - old)
        lower = _objective(design, better, absolute, squared)

    return better, lower


def _way_to_the_edge(old: np.ndarray, proposal: np.ndarray) -> float:
    """Return the share of the way from logits to others, ``(m, q)`` each, at which the first boundaries meet; infinity if none do."""
    gap, closing = np.diff(old, axis=1), np.diff(old - proposal, axis=1)
    shares = np.divide(gap, closing, out=np.full_like(gap, np.inf), where=closing > 0)

    return float(shares.min(initial=np.inf))


def _residual(parameters: np.ndarray, slopes: np.ndarray, absolute: np.ndarray, squared: np.ndarray, free: np.ndarray) -> float:
    """Return by how much the optimality conditions are violated."""
    kept = np.where(free, absolute, 0.0)
    downhill = slopes - squared * parameters
    violation = np.where(parameters == 0, np.maximum(np.abs(downhill) - kept, 0), np.abs(downhill - kept * np.sign(parameters)))

    return float(violation[free].max())


def _on_the_scale_of_the_data(design: Design, strength: float, objective: float, found: _Found) -> CumulativeFit:
    q = design.boundaries
    weights = np.cumsum(found.parameters[q:].reshape(q, -1), axis=0).T / design.scale[:, None]

    return CumulativeFit(
        intercepts=found.parameters[:q] - design.mean @ weights,
        weights=weights,
        strength=strength,
        log_likelihood=log_likelihood(_logits(design, found.parameters), design.counts),
        objective=objective,
        trace=found.trace,
        residual=found.residual,
        parameters=found.parameters,
    )
