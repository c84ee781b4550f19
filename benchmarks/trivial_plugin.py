"""A task whose trials do nothing, so that a run of them costs what the harness costs."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness import Dataset, Method, Metric, Task, hookimpl


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task("trivial", "trivial_plugin:Trivial", "Return a number", verbs=("answer",), metrics=("value",), budget=("steps",))


@hookimpl
def bench_datasets():
    """Give the one data set."""
    yield Dataset("nothing", "trivial", "trivial_plugin:Nothing", "No data, in as many variants as wanted")


@hookimpl
def bench_methods():
    """Give the one method."""
    yield Method("constant", "trivial", "trivial_plugin:Constant", "A constant and a little of the seed")


@hookimpl
def bench_metrics():
    """Give the one metric."""
    yield Metric("value", "trivial", "trivial_plugin:value", "The answer itself")


@dataclass
class Outcome:
    """What a trial ends in."""

    answer: np.ndarray


@dataclass
class Trivial:
    """Ask the method once."""

    outcome_type: ClassVar[type] = Outcome

    def confront(self, method, data, run, privileges):
        """Return the method's answer."""
        return Outcome(np.array([method.answer(data, run)]))


@dataclass
class Nothing:
    """No data."""

    variant: int = 0

    def load(self, run):
        """Return the variant's number."""
        return self.variant


@dataclass
class Constant:
    """Answer with a constant and some noise, so that the statistics have something to do."""

    level: float = 0.0

    def answer(self, data, run):
        """Return a number that depends on method, data and seed."""
        return self.level + data + run.rng("answer").standard_normal()


def value(outcome, data):
    """Return the answer."""
    return float(outcome.answer[0])
