"""
Coordinate descent on a quadratic with an elastic-net penalty, compiled by numba.

The signature is given, so the function is compiled when this module is imported: the clock of a trial starts after the import of its code, and no trial
pays for a compiler. The machine code is kept in ``__pycache__`` beside this file, or in numba's folder of the user where that cannot be written.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

__all__ = ["descend"]

SWEEPS = 30
SIGNATURE = "int64(float64[:, ::1], float64[::1], float64[::1], float64[::1], float64[::1], float64, int64)"


def _descend(
    information: np.ndarray,
    gradient: np.ndarray,
    absolute: np.ndarray,
    squared: np.ndarray,
    solution: np.ndarray,
    tolerance: float,
    most_sweeps: int,
) -> int:
    sweep = 0
    everywhere = True
    while sweep < most_sweeps:
        sweep += 1
        largest = 0.0
        for j in range(len(solution)):
            old = solution[j]
            if old == 0.0 and not everywhere:
                continue
            curvature = information[j, j] + squared[j]
            if curvature <= 0.0:
                continue
            pull = information[j, j] * old - gradient[j]
            new = 0.0
            if pull > absolute[j]:
                new = (pull - absolute[j]) / curvature
            elif pull < -absolute[j]:
                new = (pull + absolute[j]) / curvature
            step = new - old
            if step != 0.0:
                solution[j] = new
                for i in range(len(solution)):
                    gradient[i] += information[j, i] * step
                largest = max(largest, curvature * step * step)
        if largest < tolerance:
            if everywhere:
                return sweep
            everywhere = True  # the coordinates that are not 0 have settled: do those at 0 stay there?
        else:
            everywhere = False

    return sweep


def _compiled(function: Callable[..., int]) -> Callable[..., int]:
    """Compile, and keep the machine code where a folder for it can be written."""
    try:
        return njit(SIGNATURE, cache=True)(function)
    except RuntimeError:  # numba found no such folder: a read-only installation and a read-only home
        return njit(SIGNATURE)(function)


_compiled_descend = _compiled(_descend)


def descend(
    information: np.ndarray,
    target: np.ndarray,
    absolute: np.ndarray,
    squared: np.ndarray,
    start: np.ndarray,
    tolerance: float = 1e-15,
    most_rounds: int = 50,
) -> np.ndarray:
    """
    Minimise ``b'Ib / 2 - target'b + sum(absolute |b| + squared b**2 / 2)`` over ``b``, one coordinate after the other.

    After a sweep over all coordinates only those that are not 0 are visited until they settle; then all are, until none moves (KKT). A sweep costs
    ``O(d)`` for each coordinate that moves and ``O(1)`` for each that does not. If 30 sweeps do not settle it, as where ``I`` is badly conditioned, the
    coordinates that are not 0 go together to where their linear system has its solution, or until the first of them is 0; then the sweeps go on.

    Args:
        information: ``I``, ``(d, d)``, symmetric, positive semi-definite.
        target: ``(d,)``.
        absolute: ``(d,)``, weights of the L1 penalty, at least 0; infinite keeps a coordinate at 0.
        squared: ``(d,)``, weights of the L2 penalty, at least 0.
        start: ``(d,)``, where to start; it is not changed.
        tolerance: A coordinate has settled when its step, squared, times its curvature is smaller.
        most_rounds: At most so many rounds of 30 sweeps.

    Returns:
        ``(d,)``; what is 0 is exactly 0.
    """
    information = np.ascontiguousarray(information)
    solution = np.where(np.isinf(absolute), 0.0, start)
    for _ in range(most_rounds):
        gradient = information @ solution - target
        if _compiled_descend(information, gradient, absolute, squared, solution, tolerance, SWEEPS) < SWEEPS:
            break
        solution = _together(information, target, absolute, squared, solution)

    return solution


def _together(information: np.ndarray, target: np.ndarray, absolute: np.ndarray, squared: np.ndarray, solution: np.ndarray) -> np.ndarray:
    """Move the coordinates that are not 0 towards the minimum for their signs, as far as no sign changes; the objective cannot rise on the way."""
    active = np.flatnonzero(solution)
    old = solution[active]
    signs = np.where(absolute[active] > 0, np.sign(old), 0.0)
    system = information[np.ix_(active, active)] + np.diag(squared[active])
    try:
        new = np.linalg.solve(system, target[active] - absolute[active] * signs)
    except np.linalg.LinAlgError:  # singular: there is no one place to go to
        return solution
    turning = signs * new < 0
    share = float((old[turning] / (old[turning] - new[turning])).min(initial=1.0))
    moved = solution.copy()
    between = old + share * (new - old)
    moved[active] = np.where(turning & (between * signs <= 1e-14 * np.abs(old)), 0.0, between)

    return moved
