"""
Class-incremental learning: classes arrive in steps, and past data are gone.

The protocol owns the stream. A seed draws the order of the classes; each experience brings the training data of its own, and what is past is out of reach
but for a memory that the protocol holds, counts and bounds. After each experience the method scores all test samples. One prediction gives both scores: the
class-incremental one, where the best of all classes seen counts, and the task-incremental one, where the best class of the sample's own experience does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.context import Budget, Run
from harness.errors import TrialDiverged
from harness.streams import derive_seed
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from plugins.tasks.class_incremental.keeping import SampleHashes, n_numbers, tensors_within
from plugins.tasks.class_incremental.recipe import ContinualRecipe
from plugins.tasks.class_incremental.specialised import train_base
from plugins.tasks.class_incremental.stream import Experience, GroupedImageData, Memory, of_classes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ClassIncrementalProtocol", "ContinualMethod", "Outcome", "Stream"]

BASE_FILE = "base.safetensors"


class ContinualMethod(Protocol):
    """The verbs of this task."""

    def learn(self, experience: Experience, run: Run) -> None:
        """Train on one experience for ``run.budget.epochs`` epochs, and keep what is needed to score and to go on."""

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """
        Score samples ``(n, ...)`` for all classes that have been seen, ``(n, n_seen)`` on the CPU.

        The class of the highest score is the answer; among the classes of one experience, the answer where that experience is known.
        """


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read; T experiences, classes by the order of their arrival.

    Args:
        order: ``(C,)`` int64, the data set's numbers of the classes.
        bounds: ``(T + 1,)`` int64; the classes of experience t are ``bounds[t] .. bounds[t + 1] - 1``.
        answers: ``(T, n_test)`` int16, the best class after each experience.
        answers_within: ``(T, n_test, T)`` int16, the best class among those of each experience; -1 for one that has not been seen.
        kept: ``(T,)`` int64, numbers that the method keeps after each experience beside its memory.
        memory_samples: ``(T,)`` int64, samples in its memory.
        memory_bytes: ``(T,)`` int64, what they and what is kept beside each of them take.
        norm_ratio: ``(T - 1,)``, mean norm of the new classes' rows in the head over that of the old ones, behind training on each experience but the first;
            ``None`` where a method does not say it.
        gamma: ``(T - 1,)``, what a method multiplies the new rows with; likewise.
    """

    order: np.ndarray
    bounds: np.ndarray
    answers: np.ndarray
    answers_within: np.ndarray
    kept: np.ndarray
    memory_samples: np.ndarray
    memory_bytes: np.ndarray
    norm_ratio: np.ndarray | None
    gamma: np.ndarray | None


@dataclass(frozen=True)
class Stream:
    """
    The training data in the order of their arrival.

    Args:
        order: ``(C,)`` int64, the data set's numbers of the classes.
        bounds: ``(T + 1,)`` int64, as in :class:`Outcome`.
        parts: Training samples of each experience, labels by the order of arrival.
    """

    order: np.ndarray
    bounds: np.ndarray
    parts: list[LabelledSet]


@dataclass
class ClassIncrementalProtocol(ContinualRecipe):
    """
    The protocol and its settings: the stream, the memory, and the recipe that all methods share (see
    :class:`plugins.tasks.class_incremental.recipe.ContinualRecipe`).

    A suite sets the fields under ``protocol:``, for all data sets or for one.

    Args:
        experiences: T, over which the classes are divided evenly; where that leaves a rest, the first ones have one more. A data set that says itself which
            classes come together has as many as it says.
        memory: Samples that a method with the privilege ``memory`` may keep in all; 0, or at least one a class.
        base_epochs: That a network is trained for on the first experience, once for all methods with parts for each experience, which then start from it; 0
            leaves its training to each of them.
        base_learning_rate: In the place of ``learning_rate``.
    """

    outcome_type: ClassVar[type] = Outcome

    experiences: Annotated[int, Ge(1)] = 5
    memory: Annotated[int, Ge(0)] = 50
    base_epochs: Annotated[int, Ge(0)] = 0
    base_learning_rate: Annotated[float, Gt(0)] = 0.05

    def build_artifact(self, data: ImageData, run: Run, folder: Path) -> None:
        """Train the base on the first experience and write its state, ``base.safetensors``; where there is to be none, an empty one."""
        state: dict[str, Tensor] = {}
        if self.base_epochs > 0:
            own_run = Run(derive_seed(run.seed, "base"), Budget(epochs=self.base_epochs), run.device, run.report)
            first = self._experience(self.stream(data, run), 0, Memory(0), with_past=False, base=None)
            recipe = replace(first.recipe, learning_rate=self.base_learning_rate)
            state = train_base(replace(first, recipe=recipe), own_run).state_dict()

        save_file({name: value.detach().cpu().contiguous() for name, value in state.items()}, folder / BASE_FILE)

    def confront(self, method: ContinualMethod, data: ImageData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Lead ``method`` through the stream, and ask it for the test set after each experience.

        Raises:
            TrialDiverged: A score is not finite.
            ValueError: A class has no training sample, the memory has no room for one of each class, scores have another shape than they should, or the
                method keeps past samples outside of its memory.
        """
        stream = self.stream(data, run)
        memory = Memory(self.memory if "memory" in privileges else 0)
        if 0 < memory.capacity < data.n_classes:
            raise ValueError(f"a memory of {memory.capacity} samples has no room for one of each of {data.n_classes} classes")
        base = self._base(run)
        hidden, steps = SampleHashes(), []
        hidden.add(data.test.x)
        for index, part in enumerate(stream.parts):
            method.learn(self._experience(stream, index, memory, "past" in privileges, base), run)
            hidden.add(part.x)
            steps.append(self._step(method, data, stream, index, memory, hidden, run))

        return Outcome(
            stream.order,
            stream.bounds,
            **{name: np.stack([step[name] for step in steps]) for name in steps[0]},
            norm_ratio=_curve(run, "norm_ratio", len(steps) - 1),
            gamma=_curve(run, "gamma", len(steps) - 1),
        )

    def curves(self, outcome: Outcome, data: ImageData) -> dict[str, np.ndarray]:
        """Return the accuracy among the classes seen after each experience, ``(T,)``, and on each experience's test samples, ``(T, T)``, by experience and step."""
        from plugins.tasks.class_incremental.metrics import accuracy_matrix, step_accuracies

        return {"accuracy": step_accuracies(outcome, data), "accuracy by experience": accuracy_matrix(outcome, data).T}

    def stream(self, data: ImageData, run: Run) -> Stream:
        """
        Divide the training data by classes, whose order is drawn from the stream ``order``, or as the data set says.

        Raises:
            ValueError: There are fewer classes than experiences, a value is not finite, or a class has no sample.
        """
        if data.n_classes < self.experiences and not isinstance(data, GroupedImageData):
            raise ValueError(f"{data.n_classes} classes cannot be divided over {self.experiences} experiences")
        if not bool(torch.isfinite(data.train.x).all()):
            raise ValueError("x of the training set holds a value that is not finite")
        counts = torch.bincount(data.train.y, minlength=data.n_classes)
        if bool((counts == 0).any()):
            raise ValueError(
                f"class {int(counts.argmin())} of {data.n_classes} has no training sample, so that its experience would lack it"
            )
        if isinstance(data, GroupedImageData):
            groups = [np.array(group) for group in data.groups]
        else:
            groups = np.array_split(run.rng("order").permutation(data.n_classes), self.experiences)
        order = np.concatenate(groups)
        run.witness("order", order)
        bounds = np.cumsum([0, *map(len, groups)])
        train = LabelledSet(data.train.x, arrivals(data.train.y, order))
        parts = [of_classes(train, int(low), int(high)) for low, high in pairwise(bounds)]

        return Stream(order, bounds, parts)

    def for_tuning(self, data: ImageData) -> ImageData:
        """Return the data with the validation set in the place of the test set."""
        return replace(data, test=data.valid)

    def shuffle_hidden(self, data: ImageData, rng: np.random.Generator, privileges: tuple[str, ...]) -> ImageData:
        """Return the data with the test labels in random order."""
        return replace(data, test=LabelledSet(data.test.x, data.test.y[torch.from_numpy(rng.permutation(len(data.test)))]))

    def _base(self, run: Run) -> Mapping[str, Tensor] | None:
        """Return the state of the base, where there is to be one."""
        if self.base_epochs == 0:
            return None
        if run.artifact is None:
            raise ValueError("the base is the artifact of this task, and this trial was given none")

        return load_file(run.artifact / BASE_FILE)

    def _experience(self, stream: Stream, index: int, memory: Memory, with_past: bool, base: Mapping[str, Tensor] | None) -> Experience:
        """Return what a method may see. Tensors are copies: nothing that a method does to them reaches the stream."""
        past = stream.parts[:index]

        return Experience(
            index,
            n_old=int(stream.bounds[index]),
            n_seen=int(stream.bounds[index + 1]),
            train=LabelledSet(stream.parts[index].x.clone(), stream.parts[index].y.clone()),
            memory=memory,
            past=LabelledSet(torch.cat([part.x for part in past]), torch.cat([part.y for part in past])) if with_past and past else None,
            recipe=ContinualRecipe(**{item.name: getattr(self, item.name) for item in fields(ContinualRecipe)}),
            base=base if index == 0 else None,
        )

    def _step(
        self, method: ContinualMethod, data: ImageData, stream: Stream, index: int, memory: Memory, hidden: SampleHashes, run: Run
    ) -> dict[str, np.ndarray]:
        """Ask for the test set, and look at what is kept."""
        n_seen = int(stream.bounds[index + 1])
        scores = _scores(method, data.test.x, n_seen, run)
        valid = of_classes(LabelledSet(data.valid.x, arrivals(data.valid.y, stream.order)), 0, n_seen)
        if len(valid) > 0:
            run.log(index, valid_accuracy=float((_scores(method, valid.x, n_seen, run).argmax(dim=1) == valid.y).double().mean()))
        kept = tensors_within(method, memory)
        found = hidden.found_in(kept, memory)
        if found > 0:
            raise ValueError(f"the method keeps {found} samples of what is past, or of the test set, outside of its memory")
        within = torch.full((len(scores), len(stream.parts)), -1)
        for other in range(index + 1):
            low, high = (int(bound) for bound in stream.bounds[other : other + 2])
            within[:, other] = low + scores[:, low:high].argmax(dim=1)

        return {
            "answers": scores.argmax(dim=1).numpy().astype(np.int16),
            "answers_within": within.numpy().astype(np.int16),
            "kept": np.array(n_numbers(kept)),
            "memory_samples": np.array(len(memory)),
            "memory_bytes": np.array(memory.n_bytes),
        }


def arrivals(y: Tensor, order: np.ndarray) -> Tensor:
    """Turn the data set's numbers of classes into those by their arrival."""
    position = torch.empty(len(order), dtype=torch.int64)
    position[torch.from_numpy(order)] = torch.arange(len(order))

    return position[y]


def _scores(method: ContinualMethod, x: Tensor, n_seen: int, run: Run) -> Tensor:
    scores = method.predict(x.clone(), run)
    if scores.shape != (len(x), n_seen):
        raise ValueError(f"the method gives scores of shape {tuple(scores.shape)}, expected {(len(x), n_seen)}")
    if not bool(torch.isfinite(scores).all()):
        raise TrialDiverged("the method's scores are not finite")

    return scores


def _curve(run: Run, name: str, n: int) -> np.ndarray | None:
    """Return a curve that the method has logged behind each experience but the first, or ``None`` where it has not."""
    points: Mapping[int, float] = dict(run.curves.get(name, []))
    if n == 0 or set(points) != set(range(1, n + 1)):
        return None

    return np.array([points[step] for step in range(1, n + 1)])
