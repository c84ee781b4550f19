"""
What a large suite's page costs: 10,000 records of 20 methods on 10 data sets with 50 seeds, with curves, costs and a failure in a hundred.

Prints a Markdown table and ends with 1 if a target is missed. The statistics, the page and its start are measured in a fresh process each time.

    python benchmarks/page.py
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
from tabulate import tabulate

from harness.environment import machine_facts
from harness.leaderboard_computation import build_leaderboard
from harness.plan import Plan, Planned
from harness.records import Costs, Limits, Part, Record, Resources, Trial, trial_id, trial_key
from harness.report.page import Evidence, to_page
from harness.specs import Dataset, Method, Metric, Task
from harness.suite import Column, Row, Suite

METHODS, DATASETS, SEEDS = 20, 10, 50
METRICS = ("accuracy", "macro_f1", "nll", "ece")
EPOCHS = 100
SECONDS_TARGET, BYTES_TARGET = 10.0, 5e6
TRACEBACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/somewhere/plugins/method_{line}/method.py", line {line}, in fit\n    return self.step(batch, state)\n' for line in range(12)
)


def make_suite() -> Suite:
    return Suite(
        name="large",
        path=Path("large.yaml"),
        summary="Synthetic records",
        task=Task("synthetic", "m:T", "", (), METRICS, ("epochs",)),
        datasets=tuple(
            Column(
                f"data set {number}",
                Part(f"data_{number}", "m:D", {"rate": number / 10}, "c"),
                Part("synthetic", "m:T", {"lr": 0.1}, "c"),
                Dataset(f"data_{number}", "synthetic", "m:D", ""),
            )
            for number in range(DATASETS)
        ),
        methods=tuple(
            Row(
                f"method_{number}",
                Part(f"method_{number}", "m:M", {"strength": number}, "c"),
                Method(f"method_{number}", "synthetic", "m:M", ""),
            )
            for number in range(METHODS)
        ),
        baseline="method_0",
        seeds=tuple(range(SEEDS)),
        budget={"epochs": EPOCHS},
        metrics=tuple(
            Metric(name, "synthetic", "m:f", name, "higher" if name[0] in "am" else "lower", "%" if name[0] in "am" else "", bounds=(0, 1))
            for name in METRICS
        ),
        limits=Limits(),
        resources=Resources(),
    )


def make_evidence() -> tuple[Plan, dict[str, Record]]:
    suite = make_suite()
    rng = random.Random(0)
    planned, records = [], {}
    for seed in suite.seeds:
        for column, data in enumerate(suite.datasets):
            for row, method in enumerate(suite.methods):
                trial = Trial(data.task, data.dataset, method.method, suite.budget, seed)
                item = Planned(data.label, method.label, trial, trial_key(trial), trial_id(trial))
                planned.append(item)
                failed = rng.random() < 0.01 and row > 0
                level = 0.5 + 0.01 * row + 0.02 * column
                records[item.key] = Record(
                    key=item.key,
                    trial=item.name,
                    question=trial.question(),
                    circumstances={},
                    status="failed" if failed else "ok",
                    metrics={} if failed else {name: min(1.0, max(0.0, level + rng.gauss(0, 0.03))) for name in METRICS},
                    curves={}
                    if failed
                    else {
                        name: [(step, level * step / EPOCHS + rng.gauss(0, 0.02)) for step in range(EPOCHS)]
                        for name in ("train_loss", "valid_accuracy")
                    },
                    costs=Costs(1 + 0.2 * row + rng.random(), 1.0, 10**8, None, 1, 1),
                    error=f"{TRACEBACK}ValueError: seed {seed} of {item.name}" if failed else None,
                    started="2026-01-01T00:00:00.000+00:00",
                    environment="here",
                )

    return Plan(suite, tuple(planned), {}), records


def measure() -> dict[str, float]:
    plan, records = make_evidence()
    start = time.perf_counter()
    board = build_leaderboard(plan, records, {"here": "A"}, "inputs")
    counted = time.perf_counter()
    page = to_page(Evidence(board, plan, records, {"here": machine_facts()}, None, "bench run large.yaml"))
    drawn = time.perf_counter()

    return {"statistics": counted - start, "page": drawn - counted, "bytes": float(len(page.encode()))}


@click.command()
@click.option("--repeats", default=3, show_default=True, help="Processes; the median counts.")
@click.option("--once", is_flag=True, help="Measure in this process and print JSON.")
def main(repeats: int, once: bool) -> None:
    if once:
        click.echo(json.dumps(measure()))
        return
    found = [
        json.loads(subprocess.run([sys.executable, __file__, "--once"], capture_output=True, text=True, check=True).stdout)
        for _ in range(repeats)
    ]
    middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
    total = middle["statistics"] + middle["page"]
    lines = [
        ["statistics", "–", f"{middle['statistics']:.2f} s", "–"],
        ["page", "–", f"{middle['page']:.2f} s", "–"],
        ["both", f"< {SECONDS_TARGET:g} s", f"{total:.2f} s", "yes" if total < SECONDS_TARGET else "NO"],
        [
            "size of the page",
            f"< {BYTES_TARGET / 1e6:g} MB",
            f"{middle['bytes'] / 1e6:.2f} MB",
            "yes" if middle["bytes"] < BYTES_TARGET else "NO",
        ],
    ]
    facts = machine_facts()
    click.echo(f"{facts['cpu']}, {facts['cpu_count']} cores, Python {facts['python']}, median of {repeats}\n")
    click.echo(tabulate(lines, headers=[f"{METHODS * DATASETS * SEEDS:,} records", "to reach", "measured", "reached"], tablefmt="github"))
    sys.exit(0 if total < SECONDS_TARGET and middle["bytes"] < BYTES_TARGET else 1)


if __name__ == "__main__":
    main()
