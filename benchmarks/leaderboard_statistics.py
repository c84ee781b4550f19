"""
What the leaderboard's statistics are worth: simulated tables whose truth is known, and the time that 10,000 records take.

Prints three Markdown tables and ends with 1 if a target is missed.

    python benchmarks/leaderboard_statistics.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from harness.environment import machine_facts
from harness.leaderboard_computation import build_leaderboard
from harness.plan import Plan, Planned
from harness.records import Costs, Limits, Part, Record, Resources, Trial, trial_id, trial_key
from harness.specs import Dataset, Method, Metric, Task
from harness.stats import RESAMPLES, SEED, best_set, mean_intervals
from harness.suite import Column, Row, Suite

SEEDS = (3, 5, 10, 20)
METHODS = (2, 3, 5, 10, 20)
EFFECTS = (0.5, 1.0, 2.0)
LARGE = (20, 10, 50)  # methods, data sets, seeds
TARGET_SECONDS = 4.0
POWER_METHODS = 5

Array = NDArray[np.float64]
SCATTER: tuple[tuple[str, float, Callable[[np.random.Generator, tuple[int, int]], Array]], ...] = (
    ("normal", 0.0, lambda rng, size: rng.normal(size=size)),
    ("accuracy near 1: beta(50, 1)", 50 / 51, lambda rng, size: rng.beta(50, 1, size)),
    ("exponential", 1.0, lambda rng, size: rng.exponential(size=size)),
    ("lognormal", float(np.exp(0.5)), lambda rng, size: rng.lognormal(0, 1, size)),
)


def null_coverage(tables: int) -> str:
    """How often the set holds all methods where none differs."""
    lines = []
    for methods in METHODS:
        line = [str(methods)]
        for seeds in SEEDS:
            rng = np.random.default_rng([methods, seeds])
            drawn = rng.normal(size=(tables, methods, seeds))
            line.append(f"{100 * np.mean([best_set(scores).all() for scores in drawn]):.1f}")
        lines.append(line)

    return tabulate(lines, headers=["methods", *(f"{seeds} seeds" for seeds in SEEDS)], tablefmt="github", disable_numparse=True)


def power(tables: int) -> str:
    """How often the set leaves out one of five methods that is worse by a known amount, the other four being equal."""
    lines = []
    for effect in EFFECTS:
        line = [f"{effect:g}"]
        for seeds in SEEDS:
            rng = np.random.default_rng([seeds, int(10 * effect)])
            drawn = rng.normal(size=(tables, POWER_METHODS, seeds))
            drawn[:, 0] -= effect
            line.append(f"{100 * np.mean([not best_set(scores)[0] for scores in drawn]):.0f}")
        lines.append(line)

    return tabulate(lines, headers=["worse by", *(f"{seeds} seeds" for seeds in SEEDS)], tablefmt="github", disable_numparse=True)


def interval_coverage(samples: int) -> str:
    """How often Student's and the BCa interval miss the mean, below and above it."""
    from scipy.stats import bootstrap

    lines = []
    for name, mean, draw in SCATTER:
        for seeds in (10, 20, 50):
            rng = np.random.default_rng(seeds)
            values = draw(rng, (samples, seeds))
            student = mean_intervals(values)
            low, high = np.empty(samples), np.empty(samples)
            for start in range(0, samples, 500):
                ends = bootstrap(
                    (values[start : start + 500],),
                    np.mean,
                    axis=-1,
                    n_resamples=RESAMPLES,
                    method="BCa",
                    rng=np.random.default_rng(SEED),
                    batch=200,
                ).confidence_interval
                low[start : start + 500], high[start : start + 500] = ends.low, ends.high
            lines.append([name, str(seeds), misses(student.low, student.high, mean), misses(low, high, mean)])

    return tabulate(lines, headers=["scatter", "seeds", "Student's t", "BCa"], tablefmt="github", disable_numparse=True)


def misses(low: Array, high: Array, mean: float) -> str:
    """Spell how often an interval lies above and below the mean, in per cent."""
    above, below = 100 * np.mean(low > mean), 100 * np.mean(high < mean)

    return f"{above + below:.1f} ({below:.1f} too low, {above:.1f} too high)"


def large_board() -> tuple[Plan, dict[str, Record]]:
    """Return a plan and skewed records, so that every interval is bootstrapped."""
    methods, datasets, seeds = LARGE
    part = {name: Part(name, f"m:{name}", {}, "code") for name in ("toy", *(f"{kind}{i}" for kind in "md" for i in range(max(LARGE))))}
    suite = Suite(
        name="large",
        path=Path("large.yaml"),
        summary="",
        task=Task("toy", "m:T", "", (), ("accuracy",), ("steps",)),
        datasets=tuple(Column(f"d{i}", part[f"d{i}"], part["toy"], Dataset(f"d{i}", "toy", "m:D", "")) for i in range(datasets)),
        methods=tuple(Row(f"m{i}", part[f"m{i}"], Method(f"m{i}", "toy", "m:M", "")) for i in range(methods)),
        baseline="m0",
        seeds=tuple(range(seeds)),
        budget={"steps": 1},
        metrics=(Metric("accuracy", "toy", "m:f", "", "higher", "%", (0.0, 1.0)),),
        limits=Limits(),
        resources=Resources(),
    )
    planned, records, rng = [], {}, np.random.default_rng(0)
    for seed in suite.seeds:
        for column in suite.datasets:
            for row in suite.methods:
                trial = Trial(column.task, column.dataset, row.method, suite.budget, seed)
                item = Planned(column.label, row.label, trial, trial_key(trial), trial_id(trial))
                planned.append(item)
                records[item.key] = Record(
                    key=item.key,
                    trial=item.name,
                    question=trial.question(),
                    circumstances={},
                    status="ok",
                    metrics={"accuracy": float(rng.beta(50, 1))},
                    costs=Costs(1.0, 1.0, 1, None, 1, 1),
                    environment="machine",
                )

    return Plan(suite, tuple(planned), {}), records


def build_seconds() -> float:
    """CPU seconds of all statistics, the import of scipy included where nothing has imported it before."""
    plan, records = large_board()
    start = time.process_time()
    build_leaderboard(plan, records, {}, "inputs")

    return time.process_time() - start


@click.command()
@click.option("--tables", type=click.IntRange(min=100), default=4000, show_default=True, help="Simulated tables for each figure.")
def main(tables: int) -> None:
    """Simulate tables whose truth is known and print what the statistics make of them."""
    seconds = build_seconds()  # first, so that it pays for the import
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['cpu_count']} cores, Python {facts['python']}, {tables} tables for each figure\n")
    print(f"{' x '.join(map(str, LARGE))} records, all skewed, all statistics: {seconds:.2f} s of CPU (to reach: < {TARGET_SECONDS:g} s)\n")
    print(null_coverage(tables), power(tables), interval_coverage(tables), sep="\n\n")
    sys.exit(seconds >= TARGET_SECONDS)


if __name__ == "__main__":
    main()
