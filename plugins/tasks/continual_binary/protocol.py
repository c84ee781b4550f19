"""
Continual learning with binary weights: tasks come one after the other, each with data of its own, and one network of weights +1 and -1 has to know them all.

The protocol owns the stream: a learner is shown the training and validation set of one task at a time, and never again. After each task it labels the
test samples of all tasks. Where the data come from a teacher perceptron, the magnetisations of the learner's weights are kept too, for order parameters,
and the mean field of statistical mechanics, which the trials with these data share as their artifact, foresees them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt

from harness.specs import Search
from harness.training.classifier import LabelledSet
from harness.training.schedules import Schedule
from plugins.tasks.continual_binary.mean_field import foresee

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from harness.context import Run

__all__ = [
    "BinaryMethod",
    "ContinualData",
    "ContinualProtocol",
    "Foresight",
    "Learner",
    "Outcome",
    "Recipe",
    "Report",
    "Stream",
    "TaskData",
    "TaskView",
    "check_data",
]

THEORY_FILE = "mean_field.json"


@dataclass(frozen=True)
class TaskData:
    """
    One task of a stream.

    Args:
        train: ``(P, d)`` float32 samples; each task may have another number of them.
        valid: For tuning.
        test: As many samples in each task.
    """

    train: LabelledSet
    valid: LabelledSet
    test: LabelledSet


@dataclass(frozen=True)
class ContinualData:
    """
    All that a data set gives; only the task and its metrics see this.

    Args:
        tasks: In the order in which they come; their classes are the same.
        n_classes: Number of classes C.
        teachers: ``(T, d)`` int8, the weights +1 and -1 of the perceptrons that labelled each task with the sign of their output (1 for a positive one), or
            ``None`` where the labels come from elsewhere. The network of a stream with teachers has no hidden layer.
    """

    tasks: tuple[TaskData, ...]
    n_classes: int
    teachers: np.ndarray | None = None


@dataclass
class Recipe:
    """
    How a network is trained, whatever its weights are; ``run.budget.steps`` are those of one task.

    Args:
        widths: Of the hidden layers. A perceptron has none, whatever stands here.
        batch_size: Samples a step; the whole training set of the task where it is ``None``.
        learning_rate: Of Adam at the start of each task.
        weight_decay: Decoupled: a step shrinks the parameters by this times the rate.
        schedule: Of the rate, over each task.
    """

    widths: tuple[Annotated[int, Ge(1)], ...] = (128, 128)
    batch_size: Annotated[int, Ge(2)] | None = 32
    learning_rate: Annotated[float, Gt(0), Search(3e-4, 1e-1, log=True)] = 1e-2
    weight_decay: Annotated[float, Ge(0), Search(choices=(0.0, 1e-3, 1e-2, 1e-1))] = 0.0
    schedule: Schedule = "constant"


class Foresight(NamedTuple):
    """
    What the mean field says of one solution, after each task.

    Args:
        order: ``(T, 1 + 2 T)``, in each row the self-overlap of the magnetisations, their overlaps with the T teachers, and those of their signs.
        free_entropy: Of the solution for the first task, per weight; the greater one is the equilibrium.
    """

    order: np.ndarray
    free_entropy: float


@dataclass(frozen=True)
class Stream:
    """
    What a method sees before the first task.

    Args:
        sizes: Units of each layer, inputs and outputs included; one output, whose sign is the class, for a perceptron.
        n_tasks: Number of tasks T.
        recipe: How every method of the suite trains.
        foresight: Of each branch, ``poor`` and ``good``, with the privilege ``theory`` alone; empty where there is no theory of the data.
    """

    sizes: tuple[int, ...]
    n_tasks: int
    recipe: Recipe
    foresight: dict[str, Foresight]

    @property
    def is_perceptron(self) -> bool:
        """Whether the network is a single layer with one output."""
        return len(self.sizes) == 2 and self.sizes[1] == 1


@dataclass(frozen=True)
class TaskView:
    """
    What a learner sees of the task that has come.

    Args:
        index: Of the task, from 0.
        train: ``(P, d)`` float32 samples and their labels.
        valid: The validation set.
    """

    index: int
    train: LabelledSet
    valid: LabelledSet


class Report(NamedTuple):
    """
    What a learner knows after a task; ``None`` where it has no such thing.

    Args:
        labels: ``(n,)`` integers for each test set, by the binary weights; empty where a theory stands in the place of a learner.
        mean_labels: Likewise by the mean weights of a learner that holds a distribution.
        magnetisations: ``(d,)`` in [-1, 1], the mean weights of a perceptron; those of a learner without a distribution are its weights.
        foresight: In the place of all these, what a theory foresees.
    """

    labels: Sequence[Tensor] = ()
    mean_labels: Sequence[Tensor] | None = None
    magnetisations: Tensor | None = None
    foresight: Foresight | None = None


class Learner(Protocol):
    """What goes through the stream."""

    def learn(self, task: TaskView) -> None:
        """Train on the task for ``run.budget.steps`` steps."""

    def report(self, tests: Sequence[Tensor]) -> Report:
        """Label the test samples of all tasks, ``(n, d)`` each."""


class BinaryMethod(Protocol):
    """The verbs of this task."""

    def begin(self, stream: Stream, run: Run) -> Learner:
        """Return a learner that has seen nothing."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read.

    Args:
        labels: ``(T, T, n)`` int16, after each task (first axis) the labels of the test samples of each (second axis), by the binary weights; without an
            element where a theory stands in the place of a learner.
        mean_labels: Likewise by the mean weights, or ``None``.
        magnetisations: ``(T, d)`` float32, of a perceptron after each task, or ``None``.
        order: ``(T, 1 + 2 T)`` float64, the order parameters that a theory foresees, or ``None``.
        free_entropy: ``(1,)`` float64, of that theory, or ``None``.
    """

    labels: np.ndarray
    mean_labels: np.ndarray | None
    magnetisations: np.ndarray | None
    order: np.ndarray | None
    free_entropy: np.ndarray | None


@dataclass
class ContinualProtocol(Recipe):
    """
    The protocol and its settings: the recipe that all methods share (see :class:`Recipe`), and the measure that the theory is about.

    Args:
        theory_beta: Inverse temperature of the Gibbs measure.
        theory_prior: Whether the first task has a divergence from uniform weights, too.
        theory_kl_weight: Weight of the divergence from the first task's weights in the second task.
    """

    outcome_type: ClassVar[type] = Outcome

    theory_beta: Annotated[float, Gt(0)] = 100.0
    theory_prior: bool = True
    theory_kl_weight: Annotated[float, Gt(0)] = 1.0

    def build_artifact(self, data: ContinualData, run: Run, folder: Path) -> None:
        """Solve the mean field of a stream with teachers, of at most two tasks, and write ``mean_field.json``; other streams have none."""
        branches = {}
        if data.teachers is not None and len(data.tasks) <= 2:
            size = data.teachers.shape[1]
            loads = [len(task.train) / size for task in data.tasks]
            overlap = float(data.teachers[0].astype(np.float64) @ data.teachers[-1] / size)
            branches = foresee(loads, overlap, self.theory_beta, self.theory_prior, self.theory_kl_weight)
        written = {name: {"order": order.tolist(), "free_entropy": entropy} for name, (order, entropy) in branches.items()}
        (folder / THEORY_FILE).write_text(json.dumps(written), encoding="utf-8")

    def confront(self, method: BinaryMethod, data: ContinualData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Lead a learner of ``method`` through the stream and let it label all test sets after each task.

        Raises:
            ValueError: The data do not make sense (:func:`check_data`), or a report has another shape than it should.
        """
        check_data(data)
        learner = method.begin(self.stream(data, run if "theory" in privileges else None), run)
        tests = [task.test.x for task in data.tasks]
        reports = []
        for index, task in enumerate(data.tasks):
            run.witness("tasks", task.train.x.numpy())
            learner.learn(TaskView(index, _copy(task.train), _copy(task.valid)))
            reports.append(learner.report([x.clone() for x in tests]))

        return _outcome(reports, data)

    def for_tuning(self, data: ContinualData) -> ContinualData:
        """Return the data with the validation sets in the place of the test sets, and with teachers of weights 0, whose overlaps tell nothing."""
        teachers = None if data.teachers is None else np.zeros_like(data.teachers)

        return replace(data, tasks=tuple(replace(task, test=task.valid) for task in data.tasks), teachers=teachers)

    def shuffle_hidden(self, data: ContinualData, rng: np.random.Generator, privileges: tuple[str, ...]) -> ContinualData:
        """Return the data with the test labels, and the weights of the teachers, in random order."""

        def shuffled(part: LabelledSet) -> LabelledSet:
            return LabelledSet(part.x, part.y[torch.from_numpy(rng.permutation(len(part)))])

        tasks = tuple(replace(task, test=shuffled(task.test)) for task in data.tasks)
        teachers = None if data.teachers is None else data.teachers[:, rng.permutation(data.teachers.shape[1])]

        return replace(data, tasks=tasks, teachers=teachers)

    def stream(self, data: ContinualData, run: Run | None) -> Stream:
        """
        Return what a method may see before the first task, with what the theory foresees where ``run`` is given.

        Raises:
            ValueError: The trial was given no artifact.
        """
        n_inputs = data.tasks[0].train.x.shape[1]
        sizes = (n_inputs, 1) if data.teachers is not None else (n_inputs, *self.widths, data.n_classes)
        foresight = {}
        if run is not None:
            if run.artifact is None:
                raise ValueError("what the mean field foresees is the artifact of this task, and this trial was given none")
            branches = json.loads((run.artifact / THEORY_FILE).read_text(encoding="utf-8"))
            foresight = {name: Foresight(np.array(branch["order"]), branch["free_entropy"]) for name, branch in branches.items()}

        return Stream(sizes, len(data.tasks), self, foresight)


def check_data(data: ContinualData) -> None:
    """
    Refuse data that no method could make sense of.

    Raises:
        ValueError: There is no task, a set is empty or holds a value that is not finite or a label that is none of the classes, tasks differ in the size of
            their samples or in the number of test samples, or teachers are not there for every task. The message names the task and the set.
    """
    if not data.tasks:
        raise ValueError("the stream has no task")
    first = data.tasks[0]
    for index, task in enumerate(data.tasks):
        for name in ("train", "valid", "test"):
            part: LabelledSet = getattr(task, name)
            where = f"the part '{name}' of task {index}"
            if len(part) == 0:
                raise ValueError(f"{where} has no samples")
            if part.x.shape != (len(part), *first.train.x.shape[1:]) or part.x.ndim != 2:
                raise ValueError(f"{where} has samples {tuple(part.x.shape)}, expected {(len(part), *first.train.x.shape[1:])}")
            if not bool(torch.isfinite(part.x).all()):
                raise ValueError(f"{where} holds a value that is not finite")
            if int(part.y.min()) < 0 or int(part.y.max()) >= data.n_classes:
                raise ValueError(f"labels of {where} lie in {int(part.y.min())}..{int(part.y.max())}, not in 0..{data.n_classes - 1}")
        if len(task.test) != len(first.test):
            raise ValueError(f"task {index} has {len(task.test)} test samples, the first one {len(first.test)}; they need as many")
    if data.teachers is not None and data.teachers.shape != (len(data.tasks), first.train.x.shape[1]):
        raise ValueError(f"teachers have shape {data.teachers.shape}, expected {(len(data.tasks), first.train.x.shape[1])}")


def _copy(part: LabelledSet) -> LabelledSet:
    """Nothing that a learner does to its data reaches a later task or the metrics."""
    return LabelledSet(part.x.clone(), part.y.clone())


def _outcome(reports: Sequence[Report], data: ContinualData) -> Outcome:
    """
    Return the arrays of the outcome.

    Raises:
        ValueError: An array has another shape than it should.
    """
    n_tasks, n_tests, size = len(data.tasks), len(data.tasks[0].test), data.tasks[0].test.x.shape[1]
    last = reports[-1]

    def labels(name: str) -> np.ndarray:
        found = np.array([[part.cpu().numpy() for part in getattr(report, name)] for report in reports])
        return _shaped(found, (n_tasks, n_tasks, n_tests), name).astype(np.int16)

    magnetisations = None
    if last.magnetisations is not None:
        found = np.array([report.magnetisations.detach().cpu().numpy() for report in reports if report.magnetisations is not None])
        magnetisations = _shaped(found, (n_tasks, size), "magnetisations").astype(np.float32)
    foresight = last.foresight

    return Outcome(
        labels=labels("labels") if foresight is None else np.empty((0, 0, 0), dtype=np.int16),
        mean_labels=None if last.mean_labels is None else labels("mean_labels"),
        magnetisations=magnetisations,
        order=None if foresight is None else _shaped(foresight.order, (n_tasks, 1 + 2 * n_tasks), "order"),
        free_entropy=None if foresight is None else np.array([foresight.free_entropy]),
    )


def _shaped(values: np.ndarray, expected: tuple[int, ...], name: str) -> np.ndarray:
    if values.shape != expected:
        raise ValueError(f"'{name}' of the reports has shape {values.shape}, expected {expected}")

    return values
