"""
Semi-supervised learning: a few labelled samples, many unlabelled ones, and views that keep the class.

The protocol: a method trains for a number of steps on batches of both kinds; its network of averaged weights is judged on the test set as it is after the
last step, beside the network itself. No state is chosen by test data, as is usual in this field. What the method took unlabelled samples for is held against
their hidden labels afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt

from harness.specs import Search
from harness.training.augmentation import Augmentation
from harness.training.classifier import LabelledSet
from harness.training.fitting import predict_logits
from harness.training.image_recipe import ImageRecipe
from harness.training.networks import Activation
from harness.training.schedules import Schedule
from plugins.tasks.semi_supervised.steps import Guesses, SemiSupervisedFit
from plugins.tasks.semi_supervised.views import Views

if TYPE_CHECKING:
    from harness.context import Run

__all__ = [
    "Outcome",
    "SemiSupervised",
    "SemiSupervisedDataset",
    "SemiSupervisedMethod",
    "SemiSupervisedProtocol",
    "check_data",
]


@dataclass(frozen=True)
class SemiSupervisedDataset:
    """
    All that a data set gives, the truth included; only the task and its metrics see this.

    Args:
        labelled: The samples whose labels methods see.
        unlabelled_x: ``(N, ...)`` float32, all training samples, the labelled ones among them.
        unlabelled_y: ``(N,)`` int64, their true labels, or ``None`` where nobody knows them.
        valid: The validation set.
        test: The test set.
        n_classes: Number of classes C.
        views: The changes that the classes survive.
    """

    labelled: LabelledSet
    unlabelled_x: torch.Tensor
    unlabelled_y: torch.Tensor | None
    valid: LabelledSet
    test: LabelledSet
    n_classes: int
    views: Views


@dataclass(frozen=True)
class SemiSupervised:
    """
    What a method sees.

    Args:
        labelled: The labelled samples.
        unlabelled: ``(N, ...)``, the unlabelled samples; the position of a sample is its index for as long as the trial lives.
        valid: The validation set, for curves; a method that learned from it would have more labels than its neighbours.
        n_classes: Number of classes C.
        views: The changes that the classes survive.
        recipe: Network, batches, optimiser and schedule that every method of the suite shares.
    """

    labelled: LabelledSet
    unlabelled: torch.Tensor
    valid: LabelledSet
    n_classes: int
    views: Views
    recipe: SemiSupervisedProtocol


class SemiSupervisedMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: SemiSupervised, run: Run) -> SemiSupervisedFit:
        """Train for ``run.budget.steps`` steps (:mod:`plugins.tasks.semi_supervised.steps` has the loop) and return both networks."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read.

    Args:
        average: ``(n_test, C)`` float32, test logits of the network of averaged weights after the last step.
        last: ``(n_test, C)`` float32, test logits of the network itself.
        guess_index: ``(M,)`` int64, positions of the unlabelled samples of the last 50 steps, or ``None`` for a method that makes no guesses.
        guess_label: ``(M,)`` int64, what they were taken for.
        guess_certain: ``(M,)`` bool, whether that was trained on among all classes.
        guess_reduced: ``(M,)`` bool, whether it was trained on among some of the classes.
        guess_kept: ``(M, ceil(C / 8))`` uint8, which classes these were, a bit each (:func:`numpy.packbits`), or ``None``.
    """

    average: np.ndarray
    last: np.ndarray
    guess_index: np.ndarray | None
    guess_label: np.ndarray | None
    guess_certain: np.ndarray | None
    guess_reduced: np.ndarray | None
    guess_kept: np.ndarray | None


@dataclass
class SemiSupervisedProtocol(ImageRecipe):
    """
    The protocol and its settings: the recipe that all methods share (see :class:`harness.training.image_recipe.ImageRecipe`).

    The defaults are those of our card for pairs of digits; ``augmentation`` stays ``none``, because views are the data set's.

    Args:
        batch_size: B, labelled samples a step.
        unlabelled_ratio: μ; a step has μ B unlabelled samples.
        learning_rate: Of SGD, at the start.
        momentum: Of SGD, after Nesterov.
        weight_decay: L2, on weights and not on biases and normalisation.
        ema_decay: Weight of the past in the averaged weights, a step.
    """

    outcome_type: ClassVar[type] = Outcome

    widths: tuple[Annotated[int, Ge(1)], ...] = (24, 48, 96)
    activation: Activation = "leaky_relu"
    norm_momentum: Annotated[float, Gt(0), Le(1)] = 0.001
    pooled: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] = (1, 2)
    batch_size: Annotated[int, Ge(2)] = 16
    schedule: Schedule = "partial_cosine"
    augmentation: Augmentation = "none"
    unlabelled_ratio: Annotated[int, Ge(1)] = 4
    learning_rate: Annotated[float, Gt(0), Search(3e-3, 3e-1, log=True)] = 0.03
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    weight_decay: Annotated[float, Ge(0), Search(choices=(0.0, 1e-4, 5e-4, 2e-3, 1e-2))] = 5e-4
    ema_decay: Annotated[float, Ge(0), Lt(1)] = 0.99

    def __post_init__(self) -> None:
        if self.augmentation != "none":
            raise ValueError(f"augmentation is '{self.augmentation}'; in this task the data set gives the views, leave it at 'none'")

    def confront(self, method: SemiSupervisedMethod, data: SemiSupervisedDataset, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Fit ``method`` on what it may see and predict the test set with both networks.

        Raises:
            ValueError: The data do not make sense (:func:`check_data`), the network cannot take samples of their shape, or the guesses are malformed.
        """
        check_data(data)
        run.witness("split", data.labelled.y.numpy())
        fitted = method.fit(self.view(data), run)
        guesses = fitted.guesses

        return Outcome(
            average=predict_logits(fitted.average, data.test.x).numpy(),
            last=predict_logits(fitted.network, data.test.x).numpy(),
            **(dict.fromkeys(GUESS_FIELDS) if guesses is None else _guess_arrays(guesses, data)),
        )

    def for_tuning(self, data: SemiSupervisedDataset) -> SemiSupervisedDataset:
        """Return the data with the validation set in the place of the test set, and without the hidden labels."""
        return replace(data, test=data.valid, unlabelled_y=None)

    def shuffle_hidden(self, data: SemiSupervisedDataset, rng: np.random.Generator, privileges: tuple[str, ...]) -> SemiSupervisedDataset:
        """Return the data with the test labels and the hidden labels of the unlabelled samples in random order."""

        def shuffled(y: torch.Tensor) -> torch.Tensor:
            return y[torch.from_numpy(rng.permutation(len(y)))]

        hidden = data.unlabelled_y

        return replace(
            data,
            test=LabelledSet(data.test.x, shuffled(data.test.y)),
            unlabelled_y=None if hidden is None else shuffled(hidden),
        )

    def view(self, data: SemiSupervisedDataset) -> SemiSupervised:
        """Return what a method may see. Tensors are copies: nothing that a method does to them reaches the metrics."""
        return SemiSupervised(
            labelled=LabelledSet(data.labelled.x.clone(), data.labelled.y.clone()),
            unlabelled=data.unlabelled_x.clone(),
            valid=LabelledSet(data.valid.x.clone(), data.valid.y.clone()),
            n_classes=data.n_classes,
            views=data.views,
            recipe=self,
        )


GUESS_FIELDS = ("guess_index", "guess_label", "guess_certain", "guess_reduced", "guess_kept")


def check_data(data: SemiSupervisedDataset) -> None:
    """
    Refuse data that no method could make sense of.

    Raises:
        ValueError: A set has no samples, holds a value that is not finite or a label that is none of the classes, or a class has no labelled sample. The
            message names the set.
    """
    if len(data.unlabelled_x) == 0:
        raise ValueError("there are no unlabelled samples; this task is about learning from them")
    if data.unlabelled_y is not None and len(data.unlabelled_y) != len(data.unlabelled_x):
        raise ValueError(f"there are {len(data.unlabelled_y)} hidden labels for {len(data.unlabelled_x)} unlabelled samples")
    if not bool(torch.isfinite(data.unlabelled_x).all()):
        raise ValueError("x of the unlabelled samples holds a value that is not finite")
    for name, part in (("labelled", data.labelled), ("validation", data.valid), ("test", data.test)):
        if len(part) == 0:
            raise ValueError(f"the {name} set has no samples")
        if not bool(torch.isfinite(part.x).all()):
            raise ValueError(f"x of the {name} set holds a value that is not finite")
        if int(part.y.min()) < 0 or int(part.y.max()) >= data.n_classes:
            wrong = int(part.y.min()) if int(part.y.min()) < 0 else int(part.y.max())
            raise ValueError(
                f"y of the {name} set holds the class {wrong}; with {data.n_classes} classes they are 0 to {data.n_classes - 1}"
            )
    present = torch.bincount(data.labelled.y, minlength=data.n_classes)
    if bool((present == 0).any()):
        raise ValueError(f"class {int(present.argmin())} of {data.n_classes} has no labelled sample")


def _guess_arrays(guesses: Guesses, data: SemiSupervisedDataset) -> dict[str, np.ndarray | None]:
    """
    Return the arrays of the outcome.

    Raises:
        ValueError: An array has another shape than it should, or names a sample or class that is not there.
    """
    n = len(guesses.index)
    for name in ("label", "certain", "reduced"):
        if getattr(guesses, name).shape != (n,):
            raise ValueError(f"'{name}' of the guesses has shape {tuple(getattr(guesses, name).shape)}, expected {(n,)}")
    if guesses.kept is not None and guesses.kept.shape != (n, data.n_classes):
        raise ValueError(f"'kept' of the guesses has shape {tuple(guesses.kept.shape)}, expected {(n, data.n_classes)}")
    for name, values, bound in (("index", guesses.index, len(data.unlabelled_x)), ("label", guesses.label, data.n_classes)):
        if n > 0 and not 0 <= int(values.min()) <= int(values.max()) < bound:
            raise ValueError(f"'{name}' of the guesses lies in {int(values.min())} .. {int(values.max())}, expected 0 .. {bound - 1}")

    return {
        "guess_index": guesses.index.cpu().numpy(),
        "guess_label": guesses.label.cpu().numpy(),
        "guess_certain": guesses.certain.cpu().numpy(),
        "guess_reduced": guesses.reduced.cpu().numpy(),
        "guess_kept": None if guesses.kept is None else np.packbits(guesses.kept.cpu().numpy(), axis=1),
    }
