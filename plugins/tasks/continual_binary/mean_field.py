"""
The mean field of a student perceptron with binary weights: order parameters after one task, and after a second one that starts from the first.

A student has magnetisations ``m`` in [-1, 1]^N, the means of its weights, and the Gibbs measure at the inverse temperature beta of the variational loss
(Li et al. 2023, arXiv:2212.02846, section III and appendices A and B). Replica symmetry leaves three order parameters: the overlap q of two students, that of one
with the teacher, r, and with itself, qd, each with a conjugate. The second task is a Franz-Parisi potential: its students are drawn around one that the
first task gave, and stay near it by a divergence of weight gamma.

All integrals are sums over fixed grids, in float64: the trapezoidal rule converges faster than any power for such integrands. The paper's code estimates
the inner integral of the energy from normal draws, which miss the integrand's peak; here the grid goes where the peak is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq, root
from scipy.special import erf, expit, logit, logsumexp

__all__ = [
    "Branches",
    "Energy",
    "Entropy",
    "FirstTask",
    "Order",
    "SecondTask",
    "energy",
    "entropy",
    "foresee",
    "solve_branches",
    "solve_first",
    "solve_second",
    "transition",
]

POOR_START = (0.1, 0.05, 0.3)  # q, r, qd: students that know little of the teacher
GOOD_START = (0.955, 0.976, 0.956)  # students that are all but the teacher
SAME = 1e-6  # two solutions whose order parameters differ by less are one
DAMPED_STEPS = 12  # that bring a start near a solution, before Newton's method takes over
TOLERANCE = 1e-8

Branches = dict[str, "FirstTask"]


class Order(NamedTuple):
    """
    Order parameters.

    Args:
        q: Overlap of the magnetisations of two students, per weight.
        r: Overlap of a student's magnetisations and its teacher's weights.
        qd: Self-overlap of a student's magnetisations; ``r ** 2 <= q <= qd < 1``.
    """

    q: float
    r: float
    qd: float


class Energy(NamedTuple):
    """
    The energetic part of the free entropy, and how it changes.

    Args:
        value: E.
        slopes: Its derivatives by q, r and qd.
    """

    value: float
    slopes: Order


class Entropy(NamedTuple):
    """
    The entropic part of the free entropy, and the averages that are its derivatives.

    Args:
        value: S.
        order: The order parameters that the conjugate ones give.
        p_sample: Overlap of the teacher and the signs of a student.
        p_mean: Overlap of the teacher and the signs of the mean of all students, which is what gradient descent finds.
    """

    value: float
    order: Order
    p_sample: float
    p_mean: float


@dataclass(frozen=True)
class FirstTask:
    """
    A saddle point of the first task.

    Args:
        order: Order parameters.
        conjugate: Those of the conjugate fields.
        kappa: Weight of the divergence from uniform weights.
        p_sample: As in :class:`Entropy`.
        p_mean: Likewise.
        free_entropy: Phi, the logarithm of the partition function per weight; of two saddle points the one with the greater is the equilibrium.
    """

    order: Order
    conjugate: Order
    kappa: float
    p_sample: float
    p_mean: float
    free_entropy: float


@dataclass(frozen=True)
class SecondTask:
    """
    A saddle point of the second task, given one of the first.

    Args:
        order: Order parameters; r is the overlap with the second teacher, q that of two students with the same reference.
        conjugate: Those of the conjugate fields.
        r1: Overlap of the magnetisations with the first teacher.
        p_sample: Overlaps of a student's signs with the first and the second teacher.
        p_mean: Likewise of the signs of the mean over students with one reference.
    """

    order: Order
    conjugate: Order
    r1: float
    p_sample: tuple[float, float]
    p_mean: tuple[float, float]


def _clustered_normal(n: int = 401, reach: float = 9.0, scale: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of a standard normal average that are dense around 0, where the energy has a step as narrow as sqrt(1 - r^2 / q)."""
    u, step = np.linspace(-math.asinh(reach / scale), math.asinh(reach / scale), n, retstep=True)
    z = scale * np.sinh(u)

    return z, step * scale * np.cosh(u) * _normal_density(z)


def _even_normal(n: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return evenly spaced nodes and weights of a standard normal average."""
    z, step = np.linspace(-reach, reach, n, retstep=True)

    return z, step * _normal_density(z)


def _normal_density(z: np.ndarray) -> np.ndarray:
    density: np.ndarray = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)

    return density


OUTER = _clustered_normal()
FIELD = _even_normal(1201, 8.0)
STUDENT = _even_normal(161, 8.0)
INNER = np.linspace(-10.0, 10.0, 201)  # around the peak of the inner integral of the energy, which is no narrower than 0.2
T = np.linspace(-20.0, 20.0, 801)  # m = tanh(t): also the mass at |m| -> 1 is resolved
M = np.tanh(T)
SIGN = np.sign(T)  # 0 at 0: half of the node's mass lies on either side
LOG_COSH = np.logaddexp(T, -T) - math.log(2)
LOG_MEASURE = math.log(T[1] - T[0]) - 2 * LOG_COSH  # dm = (1 - m^2) dt
PENALTY = LOG_COSH - T * M  # minus the divergence from uniform weights
N_FIELDS = 2001  # of the table of averages of the second task


def energy(q: float, r: float, qd: float, beta: float) -> Energy:
    """
    Return ``E = 2 int Dz H(r z / sqrt(q - r^2)) log int Dx H^beta((sqrt(qd - q) x + sqrt(q) z) / sqrt(1 - qd))``, where H(u) = P(N(0, 1) > u).

    Args:
        q: Order parameter, above ``r ** 2``.
        r: Likewise.
        qd: Likewise, above q and below 1.
        beta: Inverse temperature.
    """
    point = torch.tensor([q, r, qd], dtype=torch.float64, requires_grad=True)
    q_, r_, qd_ = point
    z, weight = (torch.from_numpy(values) for values in OUTER)
    known, spread, rest = q_.sqrt() * z, (qd_ - q_).sqrt(), 1 - qd_
    with torch.no_grad():  # the peak of the integrand, where H(u) ~ exp(-u^2 / 2)
        peak = torch.where(known > 0, -beta * spread * known / (rest + beta * spread**2), 0.0)
        x = peak[:, None] + torch.from_numpy(INNER)
    likelihood = beta * torch.special.log_ndtr(-(spread * x + known[:, None]) / rest.sqrt())
    inner = torch.logsumexp(likelihood - x**2 / 2, dim=1) + math.log((INNER[1] - INNER[0]) / math.sqrt(2 * math.pi))
    value = 2 * (weight * torch.special.ndtr(-r_ * z / (q_ - r_**2).sqrt()) * inner).sum()
    (slopes,) = torch.autograd.grad(value, point)

    return Energy(float(value.detach()), Order(*slopes.tolist()))


class _Weights(NamedTuple):
    """Averages of one weight under ``exp(a m^2 + b m - kappa KL)``: the logarithm of the norm, and means of m, of its square and of its sign."""

    log_norm: np.ndarray
    m: np.ndarray
    square: np.ndarray
    sign: np.ndarray


def _weights(a: float, b: np.ndarray, kappa: float) -> _Weights:
    exponent = b[:, None] * M + (a * M**2 + kappa * PENALTY + LOG_MEASURE)
    top = exponent.max(axis=1, keepdims=True)
    mass = np.exp(exponent - top)
    norm = mass.sum(axis=1)
    m, square, sign = (mass @ np.stack([M, M**2, SIGN], axis=1) / norm[:, None]).T

    return _Weights(np.log(norm) + top[:, 0], m, square, sign)


def entropy(conjugate: Order, kappa: float) -> Entropy:
    """
    Return ``S = int Dz log int dm exp((qdh - qh / 2) m^2 + (sqrt(qh) z + rh) m + kappa s(m))`` over m in [-1, 1], s the entropy of a weight of mean m.

    Args:
        conjugate: qh, rh and qdh; the derivatives of S are ``-q / 2``, r and qd.
        kappa: Weight of the divergence from uniform weights.
    """
    z, weight = FIELD
    found = _weights(conjugate.qd - conjugate.q / 2, math.sqrt(conjugate.q) * z + conjugate.r, kappa)
    order = Order(q=float(weight @ found.m**2), r=float(weight @ found.m), qd=float(weight @ found.square))
    value = float(weight @ found.log_norm) + kappa * math.log(2)

    return Entropy(value, order, float(weight @ found.sign), float(erf(conjugate.r / math.sqrt(2 * conjugate.q))))


def _conjugate(order: Order, alpha: float, beta: float) -> Order:
    """Return the conjugate order parameters that make the free entropy stationary."""
    slopes = energy(*order, beta).slopes

    return Order(q=-2 * alpha * slopes.q, r=alpha * slopes.r, qd=alpha * slopes.qd)


def _fixed_point(update: Callable[[Order], Order], start: Order) -> Order:
    """
    Return the order parameters that an update leaves as they are.

    Raises:
        ValueError: None is found from this start.
    """
    order = start
    for _ in range(DAMPED_STEPS):
        order = Order(*((old + new) / 2 for old, new in zip(order, update(order), strict=True)))

    def residual(free: np.ndarray) -> np.ndarray:
        at = _bounded(free)
        return np.subtract(update(at), at)

    found = root(residual, _unbounded(order), method="hybr", options={"xtol": 1e-12, "maxfev": 100})
    solution = _bounded(found.x)
    error = float(np.abs(found.fun).max())
    if not error < TOLERANCE:
        raise ValueError(
            f"the mean field has no saddle point near q = {order.q:.4f}, r = {order.r:.4f}, qd = {order.qd:.4f} (off by {error:.1e})"
        )

    return solution


def _bounded(free: np.ndarray) -> Order:
    """Map any three numbers to order parameters with ``r ** 2 < q < qd < 1``, so that a step of Newton's method never leaves them."""
    qd = expit(free[2])
    q = qd * expit(free[0])

    return Order(q=float(q), r=float(math.sqrt(q) * math.tanh(free[1])), qd=float(qd))


def _unbounded(order: Order) -> np.ndarray:
    return np.array([logit(order.q / order.qd), math.atanh(order.r / math.sqrt(order.q)), logit(order.qd)])


def solve_first(alpha: float, beta: float, kappa: float = 0.0, start: Order | Sequence[float] = POOR_START) -> FirstTask:
    """
    Return the saddle point of the first task that iterations from a start lead to.

    Args:
        alpha: Patterns per weight.
        beta: Inverse temperature.
        kappa: Weight of the divergence from uniform weights; beta where the loss has it with weight 1.
        start: q, r and qd.

    Raises:
        ValueError: There is none nearby.
    """
    order = _fixed_point(lambda at: entropy(_conjugate(at, alpha, beta), kappa).order, Order(*start))
    conjugate = _conjugate(order, alpha, beta)
    field = entropy(conjugate, kappa)
    entropic = order.q * conjugate.q / 2 - order.r * conjugate.r - order.qd * conjugate.qd + field.value

    return FirstTask(order, conjugate, kappa, field.p_sample, field.p_mean, entropic + alpha * energy(*order, beta).value)


def solve_branches(alpha: float, beta: float, kappa: float = 0.0) -> Branches:
    """
    Return the saddle points of the first task by branch: ``poor``, whose students know little of the teacher, and ``good``; one where both are the same.

    Where no saddle point is near the good start, there is the poor one alone. The one of the two that is the only one has both names.
    """
    poor = solve_first(alpha, beta, kappa)
    try:
        good = solve_first(alpha, beta, kappa, GOOD_START)
    except ValueError:
        good = poor

    return {"poor": poor, "good": good}


def transition(beta: float, low: float = 1.5, high: float = 1.85) -> float:
    """
    Return the alpha at which both branches of the first task, without a prior, have the same free entropy: the first-order transition.

    Args:
        beta: Inverse temperature.
        low: Where the poor branch is the equilibrium, and both are there.
        high: Where the good one is, likewise.
    """

    def lead(alpha: float) -> float:
        branches = solve_branches(alpha, beta)
        return branches["good"].free_entropy - branches["poor"].free_entropy

    return float(brentq(lead, low, high, xtol=1e-3))


def solve_second(first: FirstTask, alpha: float, beta: float, gamma: float, overlap: float) -> SecondTask:
    """
    Return the saddle point of the second task.

    The average over the reference of the first task is one over the field t1 = atanh(m1) alone, since the divergence enters by ``beta gamma t1 m``.

    Args:
        first: The saddle point of the first task.
        alpha: Patterns per weight of the second task.
        beta: Inverse temperature.
        gamma: Weight of the divergence from the reference.
        overlap: r0, of the two teachers, in [-1, 1].

    Raises:
        ValueError: There is none near the first task's.
    """
    reference = _Reference(first, beta * gamma, overlap)
    order = _fixed_point(lambda at: reference.averages(_conjugate(at, alpha, beta)).order, first.order._replace(r=overlap * first.order.r))
    conjugate = _conjugate(order, alpha, beta)
    found = reference.averages(conjugate)

    return SecondTask(order, conjugate, found.r1, found.p_sample, reference.mean_signs(conjugate))


class _Averages(NamedTuple):
    """What the students of the second task are on average; as in :class:`SecondTask`."""

    order: Order
    r1: float
    p_sample: tuple[float, float]


class _Reference:
    """The students of the first task as those of the second are drawn around them, by the field t1 that a weight had; the weights of the first teacher are 1."""

    def __init__(self, first: FirstTask, stiffness: float, overlap: float) -> None:
        density = _field_density(first)
        held = density > density.max() * 1e-14
        self.t1, self.density = T[held], density[held]
        self.stiffness = stiffness
        self.shares = ((1.0, (1 + overlap) / 2), (-1.0, (1 - overlap) / 2))  # of the weights of the second teacher

    def averages(self, conjugate: Order) -> _Averages:
        x, weight = STUDENT
        reach = self.stiffness * np.abs(self.t1).max() + x[-1] * math.sqrt(conjugate.q) + abs(conjugate.r)
        b = np.linspace(-reach, reach, N_FIELDS)
        found = _weights(conjugate.qd - conjugate.q / 2, b, self.stiffness)
        table = CubicSpline(b, np.stack([found.m, found.square, found.sign], axis=1))
        fields = self.stiffness * self.t1[:, None] + math.sqrt(conjugate.q) * x
        means = []
        for sign, _ in self.shares:
            m, square, signs = np.moveaxis(table(fields + sign * conjugate.r), 2, 0)
            means.append([float(self.density @ values @ weight) for values in (m**2, square, m, signs)])
        (q, qd, r1, p1), (_, _, r2, p2) = self._overlaps(np.array(means))

        return _Averages(Order(q, r2, qd), r1, (p1, p2))

    def mean_signs(self, conjugate: Order) -> tuple[float, float]:
        """Return the overlaps of the teachers and of the sign of a weight's field, which is that of its mean."""
        fields = [self.stiffness * self.t1 + sign * conjugate.r for sign, _ in self.shares]
        first, second = self._overlaps(np.array([float(self.density @ erf(field / math.sqrt(2 * conjugate.q))) for field in fields]))

        return float(first), float(second)

    def _overlaps(self, means: np.ndarray) -> np.ndarray:
        """Average over the weights of the second teacher: values as they are, their overlap with the first teacher, and times these weights, ``(2, ...)``."""
        signs, shares = np.array(self.shares).T

        overlaps: np.ndarray = np.stack([shares, shares * signs]) @ means

        return overlaps


def _field_density(first: FirstTask) -> np.ndarray:
    """Return the share of the weights whose field atanh(m) after the first task lies in each cell of the grid, ``(len(T),)``, which sums to 1."""
    z, weight = FIELD
    conjugate = first.conjugate
    exponent = (math.sqrt(conjugate.q) * z + conjugate.r)[:, None] * M
    exponent += (conjugate.qd - conjugate.q / 2) * M**2 + first.kappa * PENALTY + LOG_MEASURE
    exponent -= logsumexp(exponent, axis=1, keepdims=True)
    density: np.ndarray = weight @ np.exp(exponent)

    return density


def foresee(loads: Sequence[float], overlap: float, beta: float, prior: bool, gamma: float) -> dict[str, tuple[np.ndarray, float]]:
    """
    Foresee one task or two, by branch of the first.

    Args:
        loads: Patterns per weight of each task.
        overlap: r0, of the two teachers.
        beta: Inverse temperature.
        prior: Whether the first task has a divergence from uniform weights.
        gamma: Weight of the divergence in the second task.

    Returns:
        By branch (:func:`solve_branches`) what :class:`plugins.tasks.continual_binary.protocol.Foresight` holds; signs are those of mean students.
    """
    found = {}
    for name, first in solve_branches(loads[0], beta, beta if prior else 0.0).items():
        rows = [[first.order.qd, first.order.r, overlap * first.order.r, first.p_mean, overlap * first.p_mean]]
        if len(loads) == 1:
            rows = [[first.order.qd, first.order.r, first.p_mean]]
        else:
            second = solve_second(first, loads[1], beta, gamma, overlap)
            rows.append([second.order.qd, second.r1, second.order.r, *second.p_mean])
        found[name] = (np.array(rows), first.free_entropy)

    return found
