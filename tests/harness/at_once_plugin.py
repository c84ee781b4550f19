"""A task of one verb whose methods can train their seeds at once, rightly or not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness import Dataset, Method, Metric, Task, TrialDiverged, hookimpl
from harness.streams import derive_seed


@hookimpl
def bench_tasks():
    yield Task(
        "at_once",
        "at_once_plugin:Protocol",
        "Add",
        ("fit",),
        ("total",),
        ("steps",),
        artifact="a number",
        artifact_parameters=("unit", "broken_seed"),
    )


@hookimpl
def bench_datasets():
    yield Dataset("numbers", "at_once", "at_once_plugin:Numbers", "Three numbers")


@hookimpl
def bench_metrics():
    yield Metric("total", "at_once", "at_once_plugin:total", "Their sum")


@hookimpl
def bench_methods():
    for name in ("sum", "slow"):
        yield Method(name, "at_once", "at_once_plugin:Sum", name, seeds_at_once=f"at_once_plugin:{name}_at_once")
    yield Method("divergent", "at_once", "at_once_plugin:Divergent", "Fails on seed 1", seeds_at_once="at_once_plugin:sum_at_once")
    yield Method("alone", "at_once", "at_once_plugin:Sum", "Cannot")


@dataclass
class Outcome:
    total: np.ndarray


@dataclass
class Protocol:
    unit: float = 1.0
    broken_seed: int = -1
    outcome_type: ClassVar[type] = Outcome

    def build_artifact(self, data: Any, run: Any, folder: Path) -> None:
        if run.seed == self.broken_seed:
            raise ValueError("no number for this seed")
        (folder / "unit.txt").write_text(str(self.unit * run.seed))

    def confront(self, method: Any, data: Any, run: Any, privileges: tuple[str, ...]) -> Outcome:
        run.witness("data", data)
        unit = float((run.artifact / "unit.txt").read_text())

        return Outcome(np.array(method.fit(data + unit, run)))


@dataclass
class Numbers:
    def load(self, run: Any) -> Any:
        return run.rng("split").random(3)


@dataclass
class Sum:
    plus: float = 0.0

    def fit(self, data: Any, run: Any) -> float:
        note("alone")
        run.count(forward=1)
        run.log(0, figure=run.seed + 1e-6)  # as sums that are rounded in another order would differ

        return float(data.sum() + self.plus)


@dataclass
class Divergent(Sum):
    def fit(self, data: Any, run: Any) -> float:
        if run.derive_seed("fate") == derive_seed(1, "fate"):
            raise TrialDiverged("the sum is not finite")

        return super().fit(data, run)


def note(text: str) -> None:
    with Path(os.environ["AT_ONCE_LOG"]).open("a") as file:
        file.write(f"{text}\n")


def sum_at_once(method: Any, views: Any, runs: Any) -> Any:
    if isinstance(method, Divergent):
        raise TrialDiverged("one of the sums is not finite")
    note(f"{len(views)} at once")
    for run in runs:
        run.count(forward=1)
        run.log(0, figure=float(run.seed))

    return [float(total + method.plus) for total in np.stack(views).sum(axis=1)]


def slow_at_once(method: Any, views: Any, runs: Any) -> Any:
    import time

    note("slow")
    time.sleep(60)


def total(outcome: Outcome, data: Any) -> float:
    return float(outcome.total)
