"""
How the memory of Ray's head (its GCS) grows with finished trials: trials that do nothing, on two workers.

    python benchmarks/ray_memory.py
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

import click
import psutil
from overhead import METHODS, Place
from tabulate import tabulate

LINES = 5  # of the table


@click.command()
@click.option("--seeds", type=click.IntRange(min=LINES), default=2500, show_default=True, help=f"Of each of {METHODS} methods.")
def main(seeds: int) -> None:
    """Run trials on Ray and print the resident memory of its GCS while their records come in."""
    marks = range(1, METHODS * seeds, METHODS * seeds // LINES)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("BENCH_")}
        place = Place(Path(folder), {**variables, "BENCH_DATA_HOME": f"{folder}/home"})
        command = [*place.run(place.suite("many", METHODS, 1, seeds), "--json"), "--executor", "ray"]
        with subprocess.Popen(command, cwd=folder, env=dict(place.environment), stdout=subprocess.PIPE, text=True) as process:
            events = (json.loads(line)["event"] for line in process.stdout or ())
            for finished, _ in enumerate((event for event in events if event == "trial"), start=1):
                if finished in marks:
                    (gcs,) = (child for child in psutil.Process(process.pid).children(recursive=True) if child.name() == "gcs_server")
                    rows.append([f"{finished:,}", f"{gcs.memory_info().rss / 1e6:.0f} MB"])
    print(tabulate(rows, headers=("finished trials", "memory of the GCS"), tablefmt="github"))


if __name__ == "__main__":
    main()
