"""A plugin for the tests of shared artifacts: a task that builds one for each data set and seed, and counts how often it does."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from harness import Dataset, Method, Metric, Task, hookimpl


@hookimpl
def bench_tasks():
    yield Task(
        "sharing",
        "sharing_plugin:Protocol",
        "Guess a number that costs much",
        verbs=("guess",),
        metrics=("value",),
        budget=("steps",),
        artifact="a costly number",
        artifact_parameters=("scale", "way"),
    )


@hookimpl
def bench_datasets():
    yield Dataset("numbers", "sharing", "sharing_plugin:Numbers", "A number a seed")


@hookimpl
def bench_methods():
    yield Method("first", "sharing", "sharing_plugin:Reader", "Reads it")
    yield Method("second", "sharing", "sharing_plugin:Reader2", "Reads it too")


@hookimpl
def bench_metrics():
    yield Metric("value", "sharing", "sharing_plugin:value", "What was read")


@dataclass
class Outcome:
    value: np.ndarray


@dataclass
class Protocol:
    outcome_type: ClassVar[type] = Outcome

    scale: float = 1.0
    way: str = "sound"
    other: float = 0.0

    def build_artifact(self, data, run, folder):
        with Path(os.environ["SHARING_LOG"]).open("a") as log:
            log.write(f"{run.seed} {self.scale} {self.other}\n")
        if self.way == "raising":
            raise ValueError("the number is too costly")
        if self.way == "sleeping":
            time.sleep(60)
        if self.way == "exiting":
            os._exit(3)
        np.save(folder / "number.npy", self.scale * data + run.rng("costly").random())

    def confront(self, method, data, run, privileges):
        return Outcome(np.array([method.guess(float(np.load(run.artifact / "number.npy")))]))

    def for_tuning(self, data):
        return -data


@dataclass
class Numbers:
    offset: float = 0.0

    def load(self, run):
        return self.offset + run.rng("numbers").random()


@dataclass
class Reader:
    plus: float = 0.0

    def guess(self, number):
        return number + self.plus


@dataclass
class Reader2(Reader):
    pass


def value(outcome, data):
    return float(outcome.value[0])
