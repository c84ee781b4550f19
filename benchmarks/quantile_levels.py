"""
One boosted ensemble a level against models that know all levels at once: seconds, score, and how far apart their quantiles are.

Every model is a base model of the task `quantile_regression` with its fixed hyperparameters, fitted on the training part of the table and asked for the test
part. Prints a Markdown table: seconds to fit and predict on one thread (median over the splits), and means over the splits of the rest.

    python benchmarks/quantile_levels.py
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by the libraries when they are imported

import statistics
import sys
import time

import click
import numpy as np
import torch
from tabulate import tabulate

from harness import Budget, Run
from harness.environment import machine_facts
from plugins.tasks.quantile_regression.base_models import BaseModelSettings, search_base_model
from plugins.tasks.quantile_regression.datasets.tables import Computers, Concrete
from plugins.tasks.quantile_regression.quantiles import pinball_array

MODELS = ("lightgbm", "joint_network", "simultaneous_network", "quantile_forest")
TABLES = {"concrete": (Concrete, None), "computers": (Computers, 2500)}
LEVELS = (9, 99)


def measure(table: str, levels: int, seed: int) -> dict[str, dict[str, float]]:
    kind, n_rows = TABLES[table]
    run = Run(seed, Budget())
    data = kind(levels=levels, n_rows=n_rows).load(run)
    found, quantiles = {}, {}
    for name in MODELS:
        start = time.perf_counter()
        raw = search_base_model(name, data.train, data.valid, data.levels, BaseModelSettings(), run).predict(data.test.x)
        seconds = time.perf_counter() - start
        quantiles[name] = np.sort(raw, axis=1)
        found[name] = {
            "seconds": seconds,
            "wis": 2 * pinball_array(quantiles[name], data.test.y, data.levels).mean(),
            "crossing": (np.diff(raw, axis=1) < 0).mean(),
            "distance": np.abs(quantiles[name] - quantiles["lightgbm"]).mean(),
            "correlation": np.corrcoef(quantiles[name].ravel(), quantiles["lightgbm"].ravel())[0, 1],
        }

    return found


@click.command()
@click.option("--splits", default=5, show_default=True, help="Seeds, each of which is a split.")
def main(splits: int) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    measure("concrete", 9, 0)  # the first time includes imports
    rows = []
    for table in TABLES:
        for levels in LEVELS:
            found = [measure(table, levels, seed) for seed in range(splits)]
            for name in MODELS:

                def mean(figure: str, name: str = name, found: list = found) -> float:
                    return statistics.mean(split[name][figure] for split in found)

                rows.append(
                    (
                        table,
                        levels,
                        name,
                        f"{statistics.median(split[name]['seconds'] for split in found):.2f}",
                        f"{mean('wis'):.4f}",
                        f"{mean('crossing'):.1%}",
                        "" if name == "lightgbm" else f"{mean('distance'):.3f}",
                        "" if name == "lightgbm" else f"{mean('correlation'):.3f}",
                    )
                )
    facts = machine_facts()
    click.echo(f"{facts.get('cpu', 'unknown CPU')}, one thread, Python {sys.version.split()[0]}, {splits} splits\n")
    headers = ("table", "levels", "model", "seconds", "wis", "crossing", "mean distance to lightgbm", "correlation with it")
    click.echo(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
