"""A plugin for the tests of what a method sees: a task with an artifact whose protocol hands its own run around as it comes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from harness import Dataset, Method, Metric, Task, hookimpl

WAYS = ("positional", "by keyword", "inside of an argument", "kept for later", "by a copy of the method")


@hookimpl
def bench_tasks():
    yield Task("forgetful", "forgetful_plugin:Protocol", "See", ("fit",), ("sees",), ("steps",), artifact="a secret")


@hookimpl
def bench_datasets():
    yield Dataset("numbers", "forgetful", "forgetful_plugin:Numbers", "A number a seed")


@hookimpl
def bench_methods():
    yield Method("looking", "forgetful", "forgetful_plugin:Looking", "Looks", seeds_at_once="forgetful_plugin:look_at_once")


@hookimpl
def bench_metrics():
    yield Metric("sees", "forgetful", "forgetful_plugin:sees", "Ways in which the method found the secret", direction="lower")
    yield Metric("finds", "forgetful", "forgetful_plugin:finds", "How often the protocol found it")


@dataclass
class Outcome:
    """What each side found, as flags: the method in each of the ways, the protocol before and after."""

    method: np.ndarray
    protocol: np.ndarray


@dataclass
class Holder:
    number: float
    run: Any


@dataclass
class Protocol:
    outcome_type: ClassVar[type] = Outcome

    def build_artifact(self, data, run, folder):
        (folder / "secret.txt").write_text("42")

    def confront(self, method, data, run, privileges):
        before = (run.artifact / "secret.txt").is_file()
        run.count(forward=1)
        model = method.fit(Holder(data, run), run)
        models = [model, method.fit(Holder(data, run), run=run)]
        models += [copied.fit(Holder(data, run), run) for copied in (copy.copy(method), copy.deepcopy(method))]
        run.witness("after", [run.samples_forward, len(run.curves["seen"]), method.plus])
        seen = [models[0].given, models[1].given, model.inside, model.saw(), models[2].given or models[3].given]

        return Outcome(np.array(seen, dtype=float), np.array([before, (run.artifact / "secret.txt").is_file()], dtype=float))


@dataclass
class AskingOnce(Protocol):
    """As a task whose seeds can be trained at once does."""

    def confront(self, method, data, run, privileges):
        model = method.fit(Holder(data, run), run)

        return Outcome(np.array([model.given, model.inside, model.saw()], dtype=float), np.array([run.artifact is not None], dtype=float))


@dataclass
class Numbers:
    def load(self, run):
        return run.rng("numbers").random()


@dataclass
class Model:
    run: Any
    given: bool
    inside: bool

    def saw(self):
        self.run.count(backward=1)

        return self.run.artifact is not None


@dataclass
class Looking:
    plus: float = 1.0

    def fit(self, data, run):
        run.count(forward=10)
        run.log(0, seen=float(run.rng("init").random() == data.run.rng("init").random()) + self.plus)
        run.witness("method", [run.seed, run.budget.steps])

        return Model(run, run.artifact is not None, data.run.artifact is not None)


def look_at_once(method, views, runs):
    return [method.fit(view, run) for view, run in zip(views, runs, strict=True)]


def sees(outcome, data):
    return float(outcome.method.sum())


def finds(outcome, data):
    return float(outcome.protocol.sum())
