"""
Distillation: train a small network, the student, with the help of a large one, the teacher, that has been trained on the same data.

The protocol: one teacher is trained for each data set and seed, without any method, and shared by all of them. A method sees it frozen, in evaluation mode and
on the batch that the student sees; network, optimiser, batches, schedule and augmentation of the student are the protocol's, the loss is the method's.
Student and teacher are judged on a test set that no method sees.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt, MinLen
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import AdamW

from harness.context import Budget, Run
from harness.specs import Search
from harness.streams import derive_seed
from harness.training.augmentation import Augmentation
from harness.training.classifier import LabelledSet
from harness.training.early_stopping import StoppableRecipe
from harness.training.fitting import Loss, Trained, build_network, fit_network, predict_logits
from harness.training.image_data import ImageData, checked_logits
from harness.training.seeds_at_once import fit_networks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from torch import Tensor

    from harness.training.fitting import Batch
    from harness.training.networks import Network, Output

__all__ = [
    "DistillationMethod",
    "DistillationProtocol",
    "DistillationView",
    "LossMethod",
    "Outcome",
    "StageShapes",
    "StudentRecipe",
    "stage_shapes",
    "train_alone",
    "train_student",
    "train_students",
    "train_students_alone",
]

TEACHER_FILE = "teacher.safetensors"


@dataclass
class StudentRecipe(StoppableRecipe):
    """
    How a student is built and trained, apart from the loss (see :class:`harness.training.early_stopping.StoppableRecipe`).

    Args:
        learning_rate: Of AdamW, at its highest.
        weight_decay: Of AdamW, which multiplies it with the learning rate.
    """

    widths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (8, 16, 32)
    augmentation: Augmentation = "shift"
    learning_rate: Annotated[float, Gt(0), Search(3e-4, 3e-2, log=True)] = 3e-3
    weight_decay: Annotated[float, Ge(0), Search(choices=(0.0, 1e-3, 1e-2, 1e-1, 1.0))] = 1e-2

    def build_optimizer(self, parameters: Iterable[Tensor]) -> AdamW:
        """Build the optimiser of the student, and of whatever is trained beside it."""
        return AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class DistillationView:
    """
    What a method sees.

    Args:
        train: The training set. The position of a sample is its index for as long as the trial lives.
        valid: The validation set.
        n_classes: Number of classes C.
        recipe: The student's network, optimiser, batches, schedule and augmentation, which every method of the suite shares.
        teacher: Frozen, in evaluation mode, on the device of the trial.
    """

    train: LabelledSet
    valid: LabelledSet
    n_classes: int
    recipe: StudentRecipe
    teacher: Network


class DistillationMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: DistillationView, run: Run) -> Trained:
        """Train a student within ``run.budget.epochs``."""


class LossMethod(Protocol):
    """A method whose whole point is its loss, so that its seeds can be trained at once."""

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Map the student's output and the batch, which holds the teacher's, to the scalar that is minimised, and to nothing else."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read.

    Args:
        student: ``(n_test, C)`` float32, logits.
        teacher: ``(n_test, C)`` float32, logits.
    """

    student: np.ndarray
    teacher: np.ndarray


class StageShapes(NamedTuple):
    """
    Shapes of the maps of one sample, the first stage first.

    Args:
        student: Of each of its stages.
        teacher: Likewise.
    """

    student: list[torch.Size]
    teacher: list[torch.Size]


@dataclass
class DistillationProtocol(StudentRecipe):
    """
    The protocol and its settings: the recipe of the student, which all methods share (see :class:`StudentRecipe`), and what the teacher has of its own.

    A suite sets the fields under ``protocol:``, for all data sets or for one.

    Args:
        teacher_model: As ``model``.
        teacher_widths: As ``widths``.
        teacher_depth: As ``depth``.
        teacher_factor: As ``factor``.
        teacher_timm_model: As ``timm_model``.
        teacher_pooled: As ``pooled``.
        teacher_epochs: That it is trained for, with cross entropy.
        teacher_learning_rate: As ``learning_rate``.
        teacher_weight_decay: As ``weight_decay``. What is not named here the teacher has in common with the student, but that it never stops early.
    """

    outcome_type: ClassVar[type] = Outcome

    teacher_model: Literal["mlp", "cnn", "resnet", "wide_resnet", "timm"] = "cnn"
    teacher_widths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (32, 64, 64)
    teacher_depth: Annotated[int, Ge(8)] = 56
    teacher_factor: Annotated[int, Ge(1)] = 2
    teacher_timm_model: str = "resnet34"
    teacher_pooled: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] = (1, 1)
    teacher_epochs: Annotated[int, Ge(1)] = 30
    teacher_learning_rate: Annotated[float, Gt(0)] = 3e-3
    teacher_weight_decay: Annotated[float, Ge(0)] = 1e-2

    @property
    def teacher_recipe(self) -> StudentRecipe:
        """How the teacher is built and trained."""
        values = {item.name: getattr(self, f"teacher_{item.name}", getattr(self, item.name)) for item in fields(StudentRecipe)}

        return StudentRecipe(**{**values, "patience": None})

    def build_artifact(self, data: ImageData, run: Run, folder: Path) -> None:
        """
        Train the teacher and write its weights, ``teacher.safetensors``.

        Its initial weights, batches and augmentation are drawn from streams of its own.
        """
        own_run = Run(derive_seed(run.seed, "teacher"), Budget(epochs=self.teacher_epochs), run.device, run.report)
        recipe = self.teacher_recipe
        view = _LabelledView(data.train, data.valid, data.n_classes, recipe)
        teacher = build_network(view, own_run)
        fit_network(teacher, recipe.build_optimizer(teacher.parameters()), view, own_run)

        save_file({name: value.detach().cpu().contiguous() for name, value in teacher.state_dict().items()}, folder / TEACHER_FILE)

    def confront(self, method: DistillationMethod, data: ImageData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """Let ``method`` train a student of the teacher, and ask both for the test set."""
        teacher = self.load_teacher(data, run)
        trained = method.fit(self.view(data, teacher), run)

        # Loaded anew: whatever a method has done to the teacher that it was lent is not judged.
        judged = self.load_teacher(data, run)

        return Outcome(student=checked_logits(trained, data), teacher=predict_logits(judged, data.test.x).numpy())

    def load_teacher(self, data: ImageData, run: Run) -> Network:
        """
        Return the teacher of the trial, frozen and in evaluation mode.

        Raises:
            ValueError: The trial was given none, or one that was trained for other classes or is another network.
        """
        if run.artifact is None:
            raise ValueError("the teacher is the artifact of this task, and this trial was given none")
        weights = load_file(run.artifact / TEACHER_FILE)
        classes = len(weights["head.weight"])
        if classes != data.n_classes:
            raise ValueError(
                f"the teacher tells {classes} classes apart, the data have {data.n_classes}; student and teacher must share them"
            )
        network = self.teacher_recipe.build_network(data.train.x.shape[1:], data.n_classes, run.torch_rng("teacher"), run.device)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                f"the weights in {run.artifact / TEACHER_FILE} are not those of the teacher that the settings describe: {error}"
            ) from error

        return network.eval().requires_grad_(False)

    def for_tuning(self, data: ImageData) -> ImageData:
        """Return the data with the validation set in the place of the test set."""
        return replace(data, test=data.valid)

    def shuffle_hidden(self, data: ImageData, rng: np.random.Generator, privileges: tuple[str, ...]) -> ImageData:
        """Return the data with the test labels in random order."""
        return replace(data, test=LabelledSet(data.test.x, data.test.y[torch.from_numpy(rng.permutation(len(data.test)))]))

    def view(self, data: ImageData, teacher: Network) -> DistillationView:
        """Return what a method may see. Tensors are copies: nothing that a method does to them reaches the metrics."""
        return DistillationView(
            train=LabelledSet(data.train.x.clone(), data.train.y.clone()),
            valid=LabelledSet(data.valid.x.clone(), data.valid.y.clone()),
            n_classes=data.n_classes,
            recipe=StudentRecipe(**{item.name: getattr(self, item.name) for item in fields(StudentRecipe)}),
            teacher=teacher,
        )


def train_student(data: DistillationView, run: Run, loss: Loss, beside: nn.Module | None = None) -> Trained:
    """
    Train the recipe's student on a loss that may ask the teacher.

    Args:
        data: The view.
        run: The trial.
        loss: Maps the student's output and the batch, which holds the teacher's, to the scalar that is minimised.
        beside: What the loss trains along with the student and throws away, such as a regressor.
    """
    student = build_network(data, run)
    parameters = [*student.parameters(), *(() if beside is None else beside.parameters())]

    return fit_network(student, data.recipe.build_optimizer(parameters), data, run, loss, data.teacher)


def train_alone(data: DistillationView, run: Run, loss: Loss) -> Trained:
    """Train the recipe's student on a loss that asks no teacher, so that none is run."""
    student = build_network(data, run)

    return fit_network(student, data.recipe.build_optimizer(student.parameters()), data, run, loss)


def train_students(method: LossMethod, views: Sequence[DistillationView], runs: Sequence[Run]) -> list[Trained]:
    """Train the students of several seeds at once, each as :func:`train_student` would (the spec's ``seeds_at_once``)."""
    return _train_at_once(method, views, runs, [view.teacher for view in views])


def train_students_alone(method: LossMethod, views: Sequence[DistillationView], runs: Sequence[Run]) -> list[Trained]:
    """Train the students of several seeds at once, each as :func:`train_alone` would."""
    return _train_at_once(method, views, runs, None)


@torch.no_grad()
def stage_shapes(data: DistillationView, run: Run) -> StageShapes:
    """Return the shapes of what the stages of student and teacher give for one sample, for methods that build something between them."""
    sample = data.train.x[:1].to(run.device)
    student = build_network(data, run).eval()

    return StageShapes(*([each.shape[1:] for each in network.outputs(sample).maps] for network in (student, data.teacher)))


def _train_at_once(
    method: LossMethod, views: Sequence[DistillationView], runs: Sequence[Run], teachers: Sequence[Network] | None
) -> list[Trained]:
    students = [build_network(view, run) for view, run in zip(views, runs, strict=True)]

    # AdamW treats each element by itself, so that stacked parameters are many more of one network.
    return fit_networks(
        students, lambda _, parameters: views[0].recipe.build_optimizer(parameters.values()), views, runs, method.loss, teachers
    )


@dataclass(frozen=True)
class _LabelledView:
    """What training a teacher needs."""

    train: LabelledSet
    valid: LabelledSet
    n_classes: int
    recipe: StudentRecipe
