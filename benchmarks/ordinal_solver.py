"""
PRESTO's solver beside generic convex solvers: the same problem, the time that each takes, and whether they agree.

Prints Markdown tables and ends with 1 if a target is missed. It needs `pip install cvxpy`; with `--scale` it also fits 330,664 rows, which takes minutes.

    python benchmarks/ordinal_solver.py --scale
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for everybody; read when numpy is imported

import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import click
import numpy as np
from scipy.optimize import minimize
from tabulate import tabulate

from harness import Budget, Run, data
from harness.environment import machine_facts
from plugins.data.tables.rdatasets import WVS_BRIBE
from plugins.presto.method import Presto
from plugins.tasks.rare_events.datasets.synthetic import SparseDifferences, draw_classes
from plugins.tasks.rare_events.datasets.tables import Bribe
from plugins.tasks.rare_events.likelihood import curvature, log_likelihood
from plugins.tasks.rare_events.protocol import OrdinalTraining
from plugins.tasks.rare_events.solver import Design, Penalty, fit_one, fit_path, penalty_grid, prepare

STRENGTHS = (0.3, 0.1, 0.03)  # shares of the strength that keeps all weights at 0
PATH_TARGET_SECONDS = 5.0
SCALE_TARGET_SECONDS = 600.0
AGREEMENT = 1e-6
N_ROWS = 330_664


class Answer(NamedTuple):
    """Parameters on standardised columns, ``(q + q p,)``, and the seconds that they took."""

    parameters: np.ndarray
    seconds: float


def ours(design: Design, penalty: Penalty, strength: float) -> np.ndarray:
    return fit_one(design, penalty, strength).parameters


def by_cvxpy(design: Design, penalty: Penalty, strength: float) -> np.ndarray:
    """State the problem in exponential cones: ``t <= log(1 - exp(-d))`` is ``exp(t) + exp(-d) <= 1``."""
    import cvxpy as cp

    q, p = design.boundaries, design.x.shape[1]
    observed = design.counts.argmax(axis=1)  # no two rows are equal here, so each holds one observation
    intercepts, psi = cp.Variable(q), cp.Variable((q, p))
    summed = np.tril(np.ones((q, q)))
    log_probabilities, constraints = [], []
    for k in range(q + 1):
        rows = design.x[observed == k]
        above = None if k == q else rows @ (summed[k] @ psi) + intercepts[k]
        below = None if k == 0 else rows @ (summed[k - 1] @ psi) + intercepts[k - 1]
        if below is None:
            log_probabilities.append(-cp.sum(cp.logistic(-above)))
        elif above is None:
            log_probabilities.append(-cp.sum(cp.logistic(below)))
        else:
            t = cp.Variable(len(rows))
            constraints.append(cp.exp(t) + cp.exp(below - above) <= 1)
            log_probabilities.append(cp.sum(above + t) - cp.sum(cp.logistic(above)) - cp.sum(cp.logistic(below)))
    objective = -sum(log_probabilities) / design.n + strength * cp.norm1(psi)
    cp.Problem(cp.Minimize(objective), constraints).solve(solver=cp.CLARABEL)

    return np.concatenate((intercepts.value, psi.value.reshape(-1)))


def by_scipy(design: Design, penalty: Penalty, strength: float) -> np.ndarray:
    """Write each weight as the difference of two that are not negative, and descend by L-BFGS-B."""
    q, p = design.boundaries, design.x.shape[1]
    d = q * p

    def parameters_of(split: np.ndarray) -> np.ndarray:
        return np.concatenate((split[:q], split[q : q + d] - split[q + d :]))

    def objective(split: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = parameters_of(split)
        eta = parameters[:q] + design.x @ np.cumsum(parameters[q:].reshape(q, p), axis=0).T
        likelihood = log_likelihood(eta, design.counts)
        score = curvature(eta, design.counts).score
        slopes = np.cumsum((score.T @ design.x)[::-1], axis=0)[::-1].reshape(-1) / design.n
        value = 1e10 if np.isinf(likelihood) else -likelihood / design.n + strength * split[q:].sum()

        return value, np.concatenate((-score.sum(axis=0) / design.n, strength - slopes, strength + slopes))

    below = np.cumsum(design.counts.sum(axis=0))[:-1] / design.n
    start = np.concatenate((np.log(below / (1 - below)), np.zeros(2 * d)))
    bounds = [(None, None)] * q + [(0.0, None)] * (2 * d)
    options = {"maxiter": 20_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-9}

    return parameters_of(minimize(objective, start, jac=True, bounds=bounds, method="L-BFGS-B", options=options).x)


def objective_of(design: Design, strength: float, parameters: np.ndarray) -> float:
    q = design.boundaries
    psi = parameters[q:].reshape(q, -1)
    eta = parameters[:q] + design.x @ np.cumsum(psi, axis=0).T

    return float(-log_likelihood(eta, design.counts) / design.n + strength * np.abs(psi).sum())


def timed(solve: Callable[[], np.ndarray], repeats: int) -> Answer:
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        parameters = solve()
        seconds.append(time.process_time() - begin)

    return Answer(parameters, median(seconds))


def beside_others(design: Design, penalty: Penalty, repeats: int) -> tuple[str, bool]:
    """Compare single fits, from a cold start."""
    greatest = float(penalty_grid(design, penalty, 2, 0.5)[0])
    lines, agree = [], True
    for share in STRENGTHS:
        strength = share * greatest
        reference: Answer | None = None
        for name, solver, times in (("ours", ours, repeats), ("CVXPY, Clarabel", by_cvxpy, 1), ("scipy, L-BFGS-B", by_scipy, 1)):
            answer = timed(lambda solver=solver, strength=strength: solver(design, penalty, strength), times)
            reference = reference or answer
            psi, best = answer.parameters[design.boundaries :], reference.parameters
            excess = objective_of(design, strength, answer.parameters) - objective_of(design, strength, best)
            agree &= excess > -AGREEMENT
            lines.append(
                [
                    f"{share:g}",
                    name,
                    f"{answer.seconds:.3f}",
                    f"{excess:+.1e}",
                    f"{np.abs(answer.parameters - best).max():.1e}",
                    int((psi == 0).sum()),
                    int((np.abs(psi) < 1e-6).sum()),
                ]
            )
    headers = ["strength", "solver", "s CPU", "objective above ours", "furthest parameter", "exact zeros", "below 1e-6"]

    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True), agree


def path(design: Design, penalty: Penalty, repeats: int) -> tuple[str, float]:
    grid = penalty_grid(design, penalty, 20, 0.01)
    answer = timed(lambda: fit_path(design, penalty, grid)[-1].parameters, repeats)
    text = (
        f"A path of 20 strengths, n = {design.n:.0f}, p = {design.x.shape[1]}, K = {design.boundaries + 1}: {answer.seconds:.2f} s of CPU."
    )

    return text, answer.seconds


def at_scale() -> tuple[str, float]:
    """Fit the whole method, cross-validation included: rows that repeat, and rows that do not."""
    rng = np.random.default_rng(0)
    drawn = SparseDifferences(last_intercept=4.5, n_train=2500, n_test=N_ROWS).load(Run(0, Budget()))
    x = drawn.test.x
    lines, slowest = [], 0.0
    data.fetch(WVS_BRIBE)
    bribe = Bribe(test_share=0.001).load(Run(0, Budget()))
    sets = {
        "bribe (countries and waves as indicators)": OrdinalTraining(bribe.train.x, bribe.train.y, 10, bribe.columns),
        "drawn, no two rows equal": OrdinalTraining(x, drawn.test.y, 4, drawn.columns),
        "drawn, 10 classes": OrdinalTraining(x, _ten_classes(x, rng), 10, drawn.columns),
    }
    for name, training in sets.items():
        design = prepare(training.x, training.y, training.n_classes)
        begin = time.process_time()
        Presto().fit(training, Run(0, Budget()))
        seconds = time.process_time() - begin
        slowest = max(slowest, seconds)
        shape = [f"{len(training.y):,}", f"{len(design.x):,}", training.x.shape[1], training.n_classes]
        lines.append([name, *shape, f"{seconds:.0f}"])

    return tabulate(
        lines, headers=["data", "rows", "distinct", "columns", "classes", "s CPU"], tablefmt="github", disable_numparse=True
    ), slowest


def _ten_classes(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    eta = np.linspace(1.0, 5.5, 9) + (x @ rng.uniform(-0.5, 0.5, x.shape[1]))[:, None]
    below = 1 / (1 + np.exp(-eta))

    return draw_classes(np.concatenate((below[:, :1], np.diff(below, axis=1), 1 - below[:, -1:]), axis=1), rng)


@click.command()
@click.option("--repeats", default=5, help="Of our own fits; the median counts.")
@click.option("--scale", is_flag=True, help="Fit 330,664 rows too.")
def main(repeats: int, scale: bool) -> None:
    sample = SparseDifferences().load(Run(0, Budget()))
    design, penalty = prepare(sample.train.x, sample.train.y, 4), Penalty(1.0, np.ones(3))
    table, agree = beside_others(design, penalty, repeats)
    sentence, seconds = path(design, penalty, repeats)
    reached = [
        (f"no solver finds an objective lower by {AGREEMENT:g}", agree),
        (f"the path takes less than {PATH_TARGET_SECONDS:g} s", seconds < PATH_TARGET_SECONDS),
    ]
    facts = machine_facts()
    print(f"{facts.get('cpu', 'unknown processor')}, one core\n\n{table}\n\n{sentence}")
    if scale:
        table, slowest = at_scale()
        print(f"\n{table}")
        reached.append((f"330,664 rows take less than {SCALE_TARGET_SECONDS:g} s", slowest < SCALE_TARGET_SECONDS))
    print("\n" + "\n".join(f"{'reached' if fine else 'MISSED'}: {what}" for what, fine in reached))
    sys.exit(0 if all(fine for _, fine in reached) else 1)


if __name__ == "__main__":
    main()
