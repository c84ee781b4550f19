"""A plugin for the tests of tuning: methods guess a number that the data hides, near 3 on validation data and near 4 on test data."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge

from harness import Dataset, Method, Metric, Search, Task, hookimpl


@hookimpl
def bench_tasks():
    yield Task("searching", "tunable_plugin:Protocol", "Guess", verbs=("answer",), metrics=("error",), budget=("steps",))


@hookimpl
def bench_datasets():
    yield Dataset("hidden", "searching", "tunable_plugin:Hidden", "A number")


@hookimpl
def bench_methods():
    for name, entry in (("fixed", "Fixed"), ("near", "Near"), ("far", "Far"), ("failing_above_one", "FailingAboveOne")):
        yield Method(name, "searching", f"tunable_plugin:{entry}", f"The {name} one")


@hookimpl
def bench_metrics():
    yield Metric("error", "searching", "tunable_plugin:error", "Distance", direction="lower")


@dataclass(frozen=True)
class Numbers:
    valid: float
    test: float


@dataclass
class Outcome:
    guess: np.ndarray


@dataclass
class Protocol:
    outcome_type: ClassVar[type] = Outcome

    def confront(self, method, data, run, privileges):
        run.witness("judged", [data.test])
        return Outcome(np.array([method.answer()]))

    def for_tuning(self, data):
        return replace(data, test=data.valid)


@dataclass
class Hidden:
    def load(self, run):
        rng = run.rng("numbers")
        return Numbers(3 + 0.1 * rng.random(), 4 + 0.1 * rng.random())


@dataclass
class Fixed:
    def answer(self):
        return 0.0


@dataclass
class Near:
    guess: Annotated[float, Ge(0), Search(0.0, 5.0)] = 1.0

    def answer(self):
        return self.guess


@dataclass
class Far(Near):
    def answer(self):
        return -self.guess


@dataclass
class FailingAboveOne(Near):
    def answer(self):
        if self.guess > 1:
            raise ValueError("too large")
        return self.guess


def error(outcome, data):
    return abs(float(outcome.guess[0]) - data.test)
