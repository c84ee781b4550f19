"""
A plugin for the tests of the conformance kit: a task, a data set, a metric and a method that pass every check, and mutants, each of which must fail one.

The task: labels are the sign of the first input, with some noise; a method sees the training set and the test inputs and guesses the test labels.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import random
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt

import harness.trial
from harness import Budget, Dataset, Method, Metric, Paper, RawData, Run, Task, hookimpl
from harness.data import cache_home
from harness.streams import numpy_stream
from plugins.data.images import DIGITS  # a package carries them: nothing is fetched

PAPER = Paper("A sound method", year=2020, arxiv="2001.00001")
RAW = RawData("nameless", "Numbers of unknown origin", "0" * 64, licence="", citation="Nobody, 2020", size_bytes=1, sources=())

# Mutant: the check that must catch it, and a word of the message.
METHODS = {
    "InvalidDefault": ("defaults_are_valid", "defaults"),
    "NoDataclass": ("defaults_are_valid", "@dataclass"),
    "Undescribed": ("fields_are_described", "'steepness'"),
    "Unbounded": ("numbers_have_bounds", "'steepness'"),
    "Verbless": ("verbs_are_there", "'guess'"),
    "Presumptuous": ("privileges_are_known", "'everything'"),
    "SetUpByItsHook": ("runs_in_a_worker", "no other code"),
    "OnCuda": ("runs_without_cuda", "run.device"),
    "Remembering": ("same_seed_same_result", "second time"),
    "Drawing": ("same_seed_same_result", "run.rng"),
    "Seeded": ("other_seed_other_result", "fixed seed"),
    "ReadingTheCache": ("looks_at_nothing_hidden", "looked at cache/arrays/coins"),
    "ReadingInAChild": ("looks_at_nothing_hidden", "looked at cache/arrays/coins"),
    "ReadingByAProgram": ("looks_at_nothing_hidden", "looked at cache/arrays/coins"),
    "ReadingThePackage": ("looks_at_nothing_hidden", "digits.csv"),
    "CopyingPredictions": ("looks_at_nothing_hidden", "looked at elsewhere/bench.db"),
    "ReadingTheJudgesMemory": ("looks_at_nothing_hidden", "/mem"),
    "LoadingTheData": ("looks_at_nothing_hidden", "the data set itself"),
    "DrawingTheSplit": ("looks_at_nothing_hidden", "looked at the random stream 'split' of the data"),
    "UnlockingItsRun": ("looks_at_nothing_hidden", "looked at the random stream 'split' of the data"),
    "PeekingThroughFrames": ("looks_at_nothing_hidden", "looked at the stack"),
    "PeekingThroughATraceback": ("looks_at_nothing_hidden", "looked at the stack"),
    "PeekingThroughTheCollector": ("looks_at_nothing_hidden", "looked at all objects"),
    "PeekingThroughItsResult": ("hidden_labels_change_nothing", "prediction"),
    "PatchingTheMetric": ("process_is_left_as_found", "patched mutants.hits"),
    "PatchingTheJudge": ("process_is_left_as_found", "patched harness.trial.judge"),
    "SeedingPython": ("process_is_left_as_found", "random"),
    "SeedingNumpy": ("process_is_left_as_found", "np.random"),
    "ChangingFolder": ("process_is_left_as_found", "working directory"),
    "SettingVariable": ("process_is_left_as_found", "MUTANT_WAS_HERE"),
    "SeedingTorch": ("process_is_left_as_found", "torch.manual_seed"),
    "ChangingTorch": ("process_is_left_as_found", "dtype of torch, the grad mode of torch, the number of torch's threads"),
    "Uncounted": ("budget_is_honoured", "run.count"),
    "Unstoppable": ("budget_is_honoured", "twice as much"),
    "PassingNaN": ("nan_input_ends", "not finite"),
    "WaitingForNumbers": ("nan_input_ends", "timeout"),
    "WaitingForSamples": ("empty_data_ends", "timeout"),
    "DyingOfHunger": ("empty_data_ends", "exit code 9"),
    "Talking": ("outcome_is_kept", "arrays of numbers"),
}
TOGETHER = {
    "same_guess_for_all": ("seeds_at_once_agree", "alone and as one of two at once"),
    "counting_for_one": ("seeds_at_once_agree", "samples are counted"),
    "failing_together": ("seeds_at_once_agree", "too many seeds"),
}
UNCITED = {"Uncited": "Paper", "Misquoted": "arXiv", "Vague": "venue"}
CITED = {
    "by_its_doi": Paper("Isolation Forest", 2008, url="https://doi.org/10.1109/ICDM.2008.17"),
    "by_its_venue": Paper("Isolation Forest", 2008, venue="ICDM"),
}
DATASETS = {
    "RequiredParameter": ("defaults_are_valid", "default"),
    "UndescribedData": ("fields_are_described", "'spread'"),
    "UnboundedData": ("numbers_have_bounds", "'spread'"),
    "Nameless": ("parts_are_known", "licence"),
    "Unloadable": ("loads_in_a_worker", "no numbers today"),
    "DrawingData": ("same_seed_same_data", "run.rng"),
    "SeededData": ("other_seed_other_data", "run.rng"),
    "SeedingData": ("process_is_left_as_found", "np.random"),
    "OtherContainer": ("container_is_the_tasks", "Coins"),
}
METRICS = {
    "one_argument": ("entry_is_a_function", "outcome and the data"),
    "upside_down": ("spec_is_sane", "bounds"),
    "beyond_bounds": ("figure_is_within_bounds", "outside its bounds"),
    "not_a_number": ("figure_is_within_bounds", "nan"),
    "sorting": ("arguments_are_left_alone", "np.sort"),
    "forgetful": ("figure_is_repeatable", "fix the seed"),
}
TASKS = {
    "InvalidProtocol": ("defaults_are_valid", "defaults"),
    "NoTuning": ("protocol_is_complete", "'for_tuning'"),
    "LooseOutcome": ("outcome_type_is_plain", "numpy array"),
    "KeepingTest": ("tuning_hides_the_test_data", "all arrays are still there"),
    "KeepingMostOfTest": ("tuning_hides_the_test_data", "%"),
    "HidingNothing": ("shuffling_reaches_the_hidden", "changes nothing"),
    "Inventing": ("shuffling_reaches_the_hidden", "permute"),
    "ShufflingInPlace": ("shuffling_reaches_the_hidden", "new container"),
}
TASK_SPECS = {
    "silent_privilege": ({"privileges": (("noise_rate", ""),)}, "privileges_are_described", "not described"),
    "odd_budget": ({"budget": ("fortnights",)}, "budget_keys_are_known", "epochs"),
    "without_metric": ({"metrics": ("elegance",)}, "metrics_are_there", "'elegance'"),
    "without_example": ({"example": ""}, "example_loads_at_once", "example"),
    "other_template": ({"template": "mutants:none.jinja"}, "template_is_a_method", "TemplateNotFound"),
    "other_verb": ({"verbs": ("divine",)}, "template_is_a_method", "'divine'"),
}


def spec_of_task(name, protocol="Protocol", **changes):
    spec = Task(
        name=name,
        entry=f"mutants:{protocol}",
        summary="Guess which side of a coin is up",
        verbs=("guess",),
        metrics=("hits",),
        budget=("steps",),
        privileges=(("noise_rate", "the rate of wrong labels"),),
        example="coins",
        template="mutants:mutants.jinja",
    )

    return replace(spec, **changes)


@hookimpl
def bench_tasks():
    yield spec_of_task("sound")
    yield spec_of_task("for_metrics")
    for protocol in TASKS:
        yield spec_of_task(protocol, protocol)
    for name, (changes, _, _) in TASK_SPECS.items():
        yield spec_of_task(name, **changes)


@hookimpl
def bench_datasets():
    for task in bench_tasks():
        yield Dataset("coins", task.name, "mutants:Coinage", "Coins", raw=(DIGITS,) if task.name == "sound" else ())
    yield Dataset("sound_data", "sound", "mutants:Coinage", "Coins")
    for name in DATASETS:
        yield Dataset(name, "sound", f"mutants:{name}", "A mutant", raw=(RAW,) if name == "Nameless" else ())


@hookimpl
def bench_methods():
    SetUpByItsHook.ready = True
    yield Method("sound_method", "sound", "mutants:Sound", "Follows the first input", paper=PAPER, seeds_at_once="mutants:guess_together")
    yield Method("sound_method", "for_metrics", "mutants:Sound", "Follows the first input", paper=PAPER)
    for name in METHODS:
        yield Method(name, "sound", f"mutants:{name}", "A mutant", PAPER, privileges=("everything",) if name == "Presumptuous" else ())
    for name in TOGETHER:
        yield Method(name, "sound", "mutants:Sound", "A mutant", PAPER, seeds_at_once=f"mutants:{name}")
    for name, paper in CITED.items():
        yield Method(name, "sound", "mutants:Sound", "Follows the first input", paper)
    yield Method("Chattering", "sound", "mutants:Chattering", "Follows the first input, and says so", PAPER)
    yield Method("Uncited", "sound", "mutants:Sound", "A mutant")
    yield Method("Vague", "sound", "mutants:Sound", "A mutant", paper=Paper("A sound method", 2020))
    yield Method("Misquoted", "sound", "mutants:Sound", "A mutant", paper=replace(PAPER, arxiv="arXiv:2001.00001v2"))


@hookimpl
def bench_metrics():
    for task in bench_tasks():
        yield Metric("hits", task.name, "mutants:hits", "Share of hits", unit="%", bounds=(0, 1))
    yield Metric("sound_metric", "for_metrics", "mutants:hits", "Share of hits", unit="%", bounds=(0, 1))
    for name in METRICS:
        yield Metric(name, "for_metrics", f"mutants:{name}", "A mutant", bounds=(1, 0) if name == "upside_down" else (0, 1))


# The sound ones


@dataclass(frozen=True)
class Coins:
    train_x: np.ndarray
    train_y: np.ndarray
    valid_x: np.ndarray
    valid_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


@dataclass(frozen=True)
class View:
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray


@dataclass
class Outcome:
    prediction: np.ndarray


@dataclass
class Protocol:
    outcome_type: ClassVar[type] = Outcome

    def confront(self, method, data: Coins, run, privileges):
        return Outcome(np.asarray(method.guess(View(data.train_x.copy(), data.train_y.copy(), data.test_x.copy()), run)))

    def for_tuning(self, data):
        return replace(data, test_x=data.valid_x, test_y=data.valid_y)

    def shuffle_hidden(self, data, rng, privileges):
        return replace(data, test_y=rng.permutation(data.test_y))


def coins(rng, container=Coins):
    x = rng.standard_normal((150, 2))
    y = (x[:, 0] + 0.3 * rng.standard_normal(150) > 0).astype(np.int64)

    return container(x[:50], y[:50], x[50:100], y[50:100], x[100:], y[100:])


@dataclass
class Coinage:
    """
    Draw coins.

    Args:
        spread: Of the inputs.
    """

    spread: Annotated[float, Gt(0)] = 1.0

    def load(self, run):
        return coins(run.rng("split"))


@dataclass
class Sound:
    """
    Follow the first input.

    Args:
        steepness: How sure a guess is.
    """

    steepness: Annotated[float, Gt(0)] = 2.0

    def guess(self, view, run):
        for _ in range(run.budget.require("steps")):
            run.count(forward=len(view.train_x), backward=len(view.train_x))

        return np.tanh(self.steepness * np.nan_to_num(view.test_x[:, 0]))


def hits(outcome, data):
    return None if len(data.test_y) == 0 else float(np.mean((outcome.prediction > 0) == data.test_y))


def guess_together(method, views, runs):
    return [method.guess(view, run) for view, run in zip(views, runs, strict=True)]


# Methods


def same_guess_for_all(method, views, runs):
    return [guess_together(method, views, runs)[0]] * len(views)


def counting_for_one(method, views, runs):
    return guess_together(method, views, [runs[0]] * len(runs))


def failing_together(method, views, runs):
    raise ValueError("too many seeds")


@dataclass
class InvalidDefault(Sound):
    steepness: Annotated[float, Gt(0)] = -1.0


class NoDataclass:
    def guess(self, view, run):
        return view.test_x[:, 0]


@dataclass
class Chattering(Sound):
    def guess(self, view, run):
        print("now guessing", file=sys.stderr)
        np.array([np.inf]) - np.inf  # numpy warns
        return super().guess(view, run)


@dataclass
class Undescribed:
    """Does not say what its field is."""

    steepness: Annotated[float, Gt(0)] = 2.0

    guess = Sound.guess


@dataclass
class Unbounded(Sound):
    steepness: float = 2.0


@dataclass
class Verbless:
    def fit(self, view, run):
        return view.test_x[:, 0]


@dataclass
class Presumptuous(Sound):
    pass


@dataclass
class SetUpByItsHook(Sound):
    ready: ClassVar[bool] = False

    def guess(self, view, run):
        if not self.ready:
            raise RuntimeError("nobody called the hook")
        return super().guess(view, run)


@dataclass
class OnCuda(Sound):
    def guess(self, view, run):
        if not os.environ.get("CUDA_VISIBLE_DEVICES", "all"):
            raise RuntimeError("no CUDA-capable device is detected")
        return super().guess(view, run)


@dataclass
class Remembering(Sound):
    calls: ClassVar[list[int]] = []

    def guess(self, view, run):
        self.calls.append(1)
        return super().guess(view, run) * len(self.calls)


@dataclass
class Drawing(Sound):
    def guess(self, view, run):
        return super().guess(view, run) + np.random.default_rng().random()


@dataclass
class Seeded(Sound):
    def guess(self, view, run):
        super().guess(view, run)
        return np.random.default_rng(0).standard_normal(len(view.test_x))


def read(path):
    """Try to; what happens before it fails is the same."""
    with contextlib.suppress(OSError):
        Path(path).read_bytes()


@dataclass
class ReadingTheCache(Sound):
    def guess(self, view, run):
        read(cache_home() / "arrays" / "coins")
        return super().guess(view, run)


@dataclass
class ReadingInAChild(Sound):
    def guess(self, view, run):
        pid = os.fork()
        if pid == 0:
            read(cache_home() / "arrays" / "coins")
            os._exit(0)
        os.waitpid(pid, 0)
        return super().guess(view, run)


@dataclass
class ReadingByAProgram(Sound):
    def guess(self, view, run):
        subprocess.run(["cat", cache_home() / "arrays" / "coins"], capture_output=True)
        return super().guess(view, run)


@dataclass
class ReadingThePackage(Sound):
    def guess(self, view, run):
        read(Path(importlib.util.find_spec("sklearn").origin).parent / "datasets" / "data" / "digits.csv.gz")
        return super().guess(view, run)


@dataclass
class CopyingPredictions(Sound):
    def guess(self, view, run):
        with contextlib.suppress(sqlite3.Error):
            sqlite3.connect("file:elsewhere/bench.db?mode=ro", uri=True).close()
        return super().guess(view, run)


@dataclass
class ReadingTheJudgesMemory(Sound):
    def guess(self, view, run):
        read(f"/proc/{os.getppid()}/mem")
        return super().guess(view, run)


@dataclass
class LoadingTheData(Sound):
    def guess(self, view, run):
        super().guess(view, run)
        for seed in range(9):
            data = Coinage().load(Run(seed, Budget()))
            if np.array_equal(data.train_x, view.train_x):
                return data.test_y - 0.5
        return view.test_x[:, 0]


@dataclass
class DrawingTheSplit(Sound):
    def guess(self, view, run):
        super().guess(view, run)
        for seed in range(9):
            data = coins(numpy_stream(seed, "split"))
            if np.array_equal(data.train_x, view.train_x):
                return data.test_y - 0.5
        return view.test_x[:, 0]


@dataclass
class UnlockingItsRun(Sound):
    def guess(self, view, run):
        super().guess(view, run)
        return coins(replace(run, _is_methods=False).rng("split")).test_y - 0.5


@dataclass
class PeekingThroughATraceback(Sound):
    def guess(self, view, run):
        try:
            raise LookupError
        except LookupError as error:
            frame = error.__traceback__.tb_frame
        while "data" not in frame.f_locals:
            frame = frame.f_back
        return super().guess(view, run) + frame.f_locals["data"].test_y


@dataclass
class PatchingTheMetric(Sound):
    def guess(self, view, run):
        sys.modules[__name__].hits = lambda outcome, data: 1.0
        return super().guess(view, run)


@dataclass
class PatchingTheJudge(Sound):
    def guess(self, view, run):
        harness.trial.judge = lambda trial, packed: harness.trial.Scores({"hits": 1.0})
        return super().guess(view, run)


@dataclass
class PeekingThroughFrames(Sound):
    def guess(self, view, run):
        super().guess(view, run)
        frame = sys._getframe()
        while frame is not None:
            for value in frame.f_locals.values():
                if type(value).__name__ == "Coins":
                    return value.test_y.astype(float)
            frame = frame.f_back
        return view.test_x[:, 0]


@dataclass
class PeekingThroughTheCollector(Sound):
    def guess(self, view, run):
        super().guess(view, run)
        for value in gc.get_objects():
            if type(value).__name__ == "Coins":
                return value.test_y.astype(float)
        return view.test_x[:, 0]


class Later:
    """Looks at the frames when the protocol makes an array of it, long after the method returned."""

    def __array__(self, dtype=None, copy=None):
        frame = sys._getframe()
        while type(frame.f_locals.get("data")).__name__ != "Coins":
            frame = frame.f_back
        return frame.f_locals["data"].test_y.astype(float)


@dataclass
class PeekingThroughItsResult(Sound):
    def guess(self, view, run):
        super().guess(view, run)
        return Later()


@dataclass
class SeedingPython(Sound):
    def guess(self, view, run):
        random.seed(0)
        return super().guess(view, run)


@dataclass
class SeedingNumpy(Sound):
    def guess(self, view, run):
        np.random.seed(0)
        return super().guess(view, run)


@dataclass
class ChangingFolder(Sound):
    def guess(self, view, run):
        os.chdir("/usr")
        return super().guess(view, run)


@dataclass
class SettingVariable(Sound):
    def guess(self, view, run):
        os.environ["MUTANT_WAS_HERE"] = "1"
        return super().guess(view, run)


@dataclass
class SeedingTorch(Sound):
    def guess(self, view, run):
        import torch

        torch.manual_seed(0)
        return super().guess(view, run)


@dataclass
class ChangingTorch(Sound):
    def guess(self, view, run):
        import torch

        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_num_threads(3)
        return super().guess(view, run)


@dataclass
class Uncounted(Sound):
    def guess(self, view, run):
        return np.tanh(run.budget.steps * view.test_x[:, 0])


@dataclass
class Unstoppable(Sound):
    def guess(self, view, run):
        run.count(forward=1000)
        return super().guess(view, run)


@dataclass
class PassingNaN(Sound):
    def guess(self, view, run):
        super().guess(view, run)
        return view.test_x[:, 0]


@dataclass
class WaitingForNumbers(Sound):
    def guess(self, view, run):
        while np.isnan(view.train_x).all():
            pass
        return super().guess(view, run)


@dataclass
class WaitingForSamples(Sound):
    def guess(self, view, run):
        while len(view.train_x) == 0:
            pass
        return super().guess(view, run)


@dataclass
class DyingOfHunger(Sound):
    def guess(self, view, run):
        if len(view.train_x) == 0:
            os._exit(9)
        return super().guess(view, run)


@dataclass
class Talking(Sound):
    def guess(self, view, run):
        return super().guess(view, run).astype(object)


# Data sets


@dataclass
class RequiredParameter:
    """
    Draw coins.

    Args:
        n: How many.
    """

    n: Annotated[int, Ge(1)]

    def load(self, run):
        return coins(run.rng("split"))


@dataclass
class UndescribedData:
    """Does not say what its field is."""

    spread: Annotated[float, Gt(0)] = 1.0

    load = Coinage.load


@dataclass
class UnboundedData(Coinage):
    spread: float = 1.0


@dataclass
class Nameless(Coinage):
    pass


@dataclass
class Unloadable(Coinage):
    def load(self, run):
        raise ValueError("no numbers today")


@dataclass
class DrawingData(Coinage):
    def load(self, run):
        return coins(np.random.default_rng())


@dataclass
class SeededData(Coinage):
    def load(self, run):
        return coins(np.random.default_rng(0))


@dataclass
class SeedingData(Coinage):
    def load(self, run):
        np.random.seed(run.seed)
        return coins(run.rng("split"))


@dataclass
class OtherContainer(Coinage):
    def load(self, run):
        return coins(run.rng("split"), lambda *arrays: arrays)


# Metrics


def one_argument(outcome):
    return 0.5


upside_down = hits


def beyond_bounds(outcome, data):
    return 1.5


def not_a_number(outcome, data):
    return float("nan")


def sorting(outcome, data):
    outcome.prediction.sort()
    return 0.5


def forgetful(outcome, data, calls=[]):  # noqa: B006  # the mistake that is to be caught
    calls.append(1)
    return 1 / len(calls)


# Tasks


@dataclass
class InvalidProtocol(Protocol):
    """
    Has a default out of bounds.

    Args:
        scale: Of nothing.
    """

    scale: Annotated[float, Gt(0)] = 0.0


@dataclass
class NoTuning(Protocol):
    for_tuning = None


@dataclass
class LooseOutcomeType:
    prediction: np.ndarray
    notes: list = field(default_factory=list)


@dataclass
class LooseOutcome(Protocol):
    outcome_type: ClassVar[type] = LooseOutcomeType


@dataclass
class KeepingTest(Protocol):
    def for_tuning(self, data):
        return replace(data)


@dataclass
class KeepingMostOfTest(Protocol):
    def for_tuning(self, data):
        return replace(data, test_x=data.test_x[:40], test_y=data.test_y[:40])


@dataclass
class HidingNothing(Protocol):
    def shuffle_hidden(self, data, rng, privileges):
        return replace(data)


@dataclass
class Inventing(Protocol):
    def shuffle_hidden(self, data, rng, privileges):
        return replace(data, test_y=rng.integers(0, 9, len(data.test_y)))


@dataclass
class ShufflingInPlace(Protocol):
    def shuffle_hidden(self, data, rng, privileges):
        rng.shuffle(data.test_y)
        return replace(data, test_y=rng.permutation(data.test_y))
