"""
What many records cost: time and peak memory of `bench plan`, `bench leaderboard` and `bench run` on a suite whose trials are all known.

Builds a synthetic store (20 methods, 10 data sets, as many seeds as it takes; a curve, three hashes and a cost in each record, a failure in a hundred),
and once more with few cells and many seeds. Prints a Markdown table and ends with 1 if a target is missed.

    python benchmarks/records.py
    python benchmarks/records.py --records 30000
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
from tabulate import tabulate

ROOT = Path(__file__).parent.parent
PLUGIN = Path(__file__).with_name("trivial_plugin.py")
FULL = 300_000
# Of 300,000 records: megabytes and seconds.
TARGETS = {"plan": (1000, 10), "leaderboard": (1500, 15), "run": (2000, None)}
BATCH = 5000


class Usage(NamedTuple):
    """What a process took: wall and CPU seconds, and its highest resident memory."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


def write_suite(folder: Path, methods: int, datasets: int, seeds: int) -> Path:
    """Write a suite of trivial trials."""
    path = folder / f"large_{methods}_{datasets}_{seeds}.yaml"
    levels = [method / 10 for method in range(methods)]
    path.write_text(
        f"task: trivial\nbudget: {{steps: 1}}\nseeds: {seeds}\n"
        f"datasets: [{{nothing: {{variant: {list(range(datasets))}}}}}]\n"
        f"methods: [{{constant: {{level: {levels}}}}}]\n",
        encoding="utf-8",
    )

    return path


def fill_store(suite: Path, url: str) -> None:
    """Answer every trial of a suite with a made-up record."""
    from harness.cli.options import Session
    from harness.plan import Plan
    from harness.records import Costs, Record
    from harness.store import open_store
    from harness.suite import Overrides

    session = Session.open((str(PLUGIN),), suite.parent / "results", url)
    store = open_store(url)
    plan = session.plan(session.suite(str(suite), Overrides()), None, lambda plan: plan.known)
    store.add_environment("0" * 16, {"cpu": "made up", "cpu_count": 2, "gpus": []})
    rng = random.Random(0)

    def records(plan: Plan) -> Iterator[Record]:
        for item in plan.planned:
            ok = rng.random() >= 0.01
            yield Record(
                key=item.key,
                trial=item.name,
                question=item.trial.question(),
                circumstances=item.trial.circumstances(),
                status="ok" if ok else "failed",
                metrics={"value": rng.gauss(0.8, 0.05)} if ok else {},
                metric_code={measure.name: measure.code for measure in item.trial.metrics} if ok else {},
                curves={"loss": [(step, rng.random()) for step in range(10)]} if ok else {},
                witnesses={name: f"{rng.getrandbits(64):016x}" for name in ("split", "noise", "batches")},
                costs=Costs(rng.uniform(1, 2), rng.uniform(1, 2), 200_000_000, None, 1000, 1000),
                error=None if ok else "Traceback (most recent call last):\n" + "  somewhere\n" * 20 + "ValueError: made up",
                started=f"2024-01-01T00:00:{rng.uniform(0, 60):09.6f}+00:00",
                environment="0" * 16,
            )

    batch = []
    for record in records(plan):
        batch.append((record, None))
        if len(batch) == BATCH:
            store.add(batch)
            batch = []
    if batch:
        store.add(batch)
    store.close()


def measure(folder: Path, *arguments: object) -> Usage:
    """
    Run a command of the harness to its end.

    Raises:
        RuntimeError: It failed; the message holds what it said.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT), "BENCH_DATA_HOME": str(folder / "home"), "BENCH_PLUGINS": ""}
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *map(str, arguments)], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1):  # 1: some of the made-up records failed
            output.seek(0)
            raise RuntimeError(f"{arguments} ended with {process.returncode}: {output.read().decode(errors='replace')[-2000:]}")

    return Usage(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


@click.command()
@click.option("--records", default=FULL, show_default=True, type=click.IntRange(min=200), help="How many.")
@click.option("--keep", type=click.Path(path_type=Path), help="Build the stores in this folder, and use those that are there.")
@click.option("--only", type=click.Choice(list(TARGETS)), multiple=True, help="Measure these commands alone; repeatable.")
def main(records: int, keep: Path | None, only: tuple[str, ...]) -> None:
    """Measure, print the table, and end with 1 if a target is missed."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ |= {"BENCH_PLUGINS": "", "BENCH_DATA_HOME": str(folder / "home")}
        lines, missed = [], False
        shapes = [("20 methods x 10 data sets", write_suite(folder, 20, 10, records // 200))]
        shapes.append(("3 methods, one data set", write_suite(folder, 3, 1, records // 30)))
        for name, suite in shapes:
            url = str(folder / f"{suite.stem}.db")
            if not Path(url).is_file():
                fill_store(suite, url)
            number = records // 200 * 200 if suite is shapes[0][1] else records // 30 * 3
            for command, (megabytes, seconds) in TARGETS.items():
                if only and command not in only:
                    continue
                extra = ["--executor", "inline", "--quiet"] if command == "run" else []
                used = measure(folder, command, suite, "--plugin", PLUGIN, "--store", url, "--results", folder / "results", *extra)
                part = number / FULL
                failed = used.peak_bytes / 1e6 > max(megabytes * part, 350) or (
                    seconds is not None and used.cpu_seconds > max(seconds * part, 4)
                )
                missed |= failed
                target = f"{megabytes * part:,.0f} MB" + (f", {seconds * part:.1f} s" if seconds is not None else "")
                lines.append(
                    [
                        f"`bench {command}`, {number:,} records, {name}",
                        f"{used.peak_bytes / 1e6:,.0f} MB",
                        f"{used.cpu_seconds:.1f} s",
                        f"{used.wall_seconds:.1f} s",
                        target,
                        "NO" if failed else "yes",
                    ]
                )
                click.echo(lines[-1], err=True)
    click.echo(tabulate(lines, headers=["command", "peak", "CPU", "wall", "to reach", "reached"], tablefmt="github"))
    sys.exit(missed)


if __name__ == "__main__":
    main()
