"""A plugin for the tests of the harness: a task without a framework, and methods that fail in every way that a trial can fail."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from harness import Dataset, Method, Metric, Task, TrialUnsupported, hookimpl
from harness.streams import derive_seed


@hookimpl
def bench_tasks():
    yield Task("toy", "toy_plugin:ToyProtocol", "Guess a number", verbs=("guess",), metrics=("closeness", "squared"), budget=("steps",))


@hookimpl
def bench_datasets():
    yield Dataset("numbers", "toy", "toy_plugin:Numbers", "A number a seed")


@hookimpl
def bench_methods():
    for name, entry in (
        ("constant", "Constant"),
        ("noisy", "Noisy"),
        ("raising", "Raising"),
        ("diverging", "Diverging"),
        ("infinite", "Infinite"),
        ("sleeping", "Sleeping"),
        ("exiting", "Exiting"),
        ("hungry", "Hungry"),
        ("untidy", "Untidy"),
        ("dying_once", "DyingOnce"),
        ("leaving", "Leaving"),
        ("numeric", "Numeric"),
        ("odd", "Odd"),
        ("printing", "Printing"),
        ("drawing_from_torch", "DrawingFromTorch"),
        ("dying_for_seed", "DyingForSeed"),
        ("choosy", "Choosy"),
    ):
        yield Method(name, "toy", f"toy_plugin:{entry}", f"The {name} one")


@hookimpl
def bench_metrics():
    yield Metric("closeness", "toy", "toy_plugin:closeness", "1 for a hit", unit="%", bounds=(0, 1))
    yield Metric("squared", "toy", "toy_plugin:squared", "Squared error", direction="lower")
    yield Metric("broken", "toy", "toy_plugin:broken", "Has a bug")
    yield Metric("not_a_number", "toy", "toy_plugin:not_a_number", "Never a number")
    yield Metric("lucky", "toy", "toy_plugin:lucky", "Whether the guess is above one half")


@dataclass
class Outcome:
    guess: np.ndarray


@dataclass
class ToyProtocol:
    outcome_type: ClassVar[type] = Outcome
    scale: Annotated[float, Gt(0)] = 1.0

    def confront(self, method, data, run, privileges):
        return Outcome(np.array([self.scale * method.guess(run)]))


@dataclass
class Numbers:
    spread: Annotated[float, Ge(0)] = 1.0
    kind: Literal["even", "odd"] = "even"

    def load(self, run):
        number = self.spread * run.rng("numbers").random()
        run.witness("numbers", [number])
        return number


@dataclass
class Constant:
    value: Annotated[float, Ge(0), Le(1)] = 0.5
    seconds: float = 0.0

    def guess(self, run):
        if self.seconds:
            time.sleep(self.seconds)
        return self.value


@dataclass
class Noisy:
    amount: float = 0.1

    def guess(self, run):
        for step in range(run.budget.require("steps")):
            run.log(step, guess=0.5)
        run.count(forward=1)
        return 0.5 + self.amount * run.rng("guess").standard_normal()


@dataclass
class Raising:
    def guess(self, run):
        raise ValueError("this method always fails")


@dataclass
class Choosy:
    def guess(self, run):
        raise TrialUnsupported("this method is about even numbers")


@dataclass
class Diverging:
    def guess(self, run):
        run.log(3, loss=float("nan"))
        return 0.0


@dataclass
class Infinite:
    def guess(self, run):
        return float("inf")


@dataclass
class Sleeping:
    seconds: float = 60.0

    def guess(self, run):
        time.sleep(self.seconds)
        return 0.0


@dataclass
class Exiting:
    def guess(self, run):
        os._exit(7)


@dataclass
class Hungry:
    gigabytes: float = 3.0

    def guess(self, run):
        hoard = [np.ones(12_500_000) for _ in range(int(10 * self.gigabytes))]
        return float(len(hoard))


@dataclass
class Untidy:
    """Leaves the process in disorder."""

    def guess(self, run):
        import random

        import torch

        torch.rand(3)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_grad_enabled(False)
        torch.backends.cudnn.benchmark = True
        np.random.seed(0)
        random.seed(0)
        os.environ["TOY_WAS_HERE"] = "1"
        os.chdir("/")
        return 0.5


@dataclass
class DyingOnce:
    """Kills its process the first time that it runs, as a lost machine would."""

    marker: str = ""

    def guess(self, run):
        path = Path(self.marker)
        if not path.exists():
            path.touch()
            os._exit(9)
        return 0.5


@dataclass
class DyingForSeed:
    """Kills its process for one seed of many, each of which takes no time."""

    seed: int = 7

    def guess(self, run):
        if run.derive_seed("fate") == derive_seed(self.seed, "fate"):
            os._exit(9)
        return 0.5


@dataclass
class Leaving:
    def guess(self, run):
        raise SystemExit(3)


@dataclass
class Numeric:
    """Logs and counts in numpy's numbers."""

    def guess(self, run):
        run.log(np.int64(1), loss=np.float32(0.5))
        run.count(forward=np.int64(3), backward=np.array([True, False]).sum())
        return np.float32(0.5)


@dataclass
class Odd:
    """Raises text that is not valid UTF-8."""

    def guess(self, run):
        raise ValueError("bad \udc80 and \u2028")


@dataclass
class Printing:
    def guess(self, run):
        print("a method may print")
        return 0.5


@dataclass
class DrawingFromTorch:
    """Imports torch where the harness cannot see it coming."""

    def guess(self, run):
        import torch

        return float(torch.rand(1))


def broken(outcome, data):
    raise KeyError("a bug in a metric")


def not_a_number(outcome, data):
    return np.float64("nan")


def closeness(outcome, data):
    return float(np.clip(1 - abs(outcome.guess[0] - data), 0, 1))


def squared(outcome, data):
    return float((outcome.guess[0] - data) ** 2)


def lucky(outcome, data):
    return float(outcome.guess[0] > 0.5)
