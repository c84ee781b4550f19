"""A task whose protocol tells curves and a table of hidden labels, for tests of both."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from harness import Dataset, Method, Metric, Task, hookimpl


@hookimpl
def bench_tasks():
    yield Task("judged", f"{__name__}:Protocol", "Two digits a step", verbs=("answer",), metrics=("accuracy",), budget=())


@hookimpl
def bench_datasets():
    yield Dataset("bits", "judged", f"{__name__}:Bits", "A hidden bit for each of two parts")


@hookimpl
def bench_methods():
    yield Method("ones", "judged", f"{__name__}:Ones", "Always one")
    yield Method("zeros", "judged", f"{__name__}:Zeros", "Always zero")


@hookimpl
def bench_metrics():
    yield Metric("accuracy", "judged", f"{__name__}:accuracy", "Share of right answers", unit="%", bounds=(0, 1))


@dataclass
class Outcome:
    answers: np.ndarray


@dataclass
class Protocol:
    outcome_type: ClassVar[type] = Outcome

    def confront(self, method, data, run, privileges):
        return Outcome(np.array([method.answer(), method.answer()]))

    def for_tuning(self, data):
        return data

    def curves(self, outcome, data):
        right = (outcome.answers == data).astype(float)

        return {"accuracy": right, "accuracy by part": np.array([[right[0], right[0]], [np.nan, right[1]]])}


@dataclass
class Bits:
    def load(self, run):
        return np.array([1, run.rng("bits").integers(2)])


@dataclass
class Ones:
    def answer(self):
        return 1


@dataclass
class Zeros:
    def answer(self):
        return 0


def accuracy(outcome, data):
    return float((outcome.answers == data).mean())
