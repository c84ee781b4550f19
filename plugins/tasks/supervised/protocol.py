"""
Supervised classification: which optimiser, or which regulariser, trains the same network best on the same data within the same budget?

The protocol: a method trains the recipe's network on the training set; it may watch a validation set and is judged on a test set that it never sees. The
network, the batches, the schedule and the augmentation are the recipe's; the optimiser with its rate and decay, and what is done to weights, targets or
activations, is the method's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import torch
from scipy.stats import kurtosis
from torch.nn.functional import cross_entropy

from harness.training.classifier import LabelledSet
from harness.training.early_stopping import StoppableRecipe
from harness.training.fitting import Trained, predict_logits
from harness.training.image_data import ImageData, checked_logits
from harness.training.weight_watch import hidden_weights

if TYPE_CHECKING:
    from harness.context import Run

__all__ = [
    "ImageView",
    "Outcome",
    "SupervisedMethod",
    "SupervisedProtocol",
]

NEAR_ZERO = 0.1  # a weight is near zero if it is smaller than this share of its layer's standard deviation


@dataclass(frozen=True)
class ImageView:
    """
    What a method sees.

    Args:
        train: The training set. The position of a sample is its index for as long as the trial lives.
        valid: The validation set.
        n_classes: Number of classes C.
        recipe: Network, batches, schedule and augmentation, which every method of the suite shares.
    """

    train: LabelledSet
    valid: LabelledSet
    n_classes: int
    recipe: StoppableRecipe


class SupervisedMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: ImageView, run: Run) -> Trained:
        """Train within ``run.budget.epochs``."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read.

    Args:
        test_logits: ``(n_test, C)`` float32.
        train_accuracy: Scalar, on the training set without augmentation, labels as they were trained on.
        train_loss: Scalar, the mean cross entropy there.
        samples: ``(E,)``, trained on until the end of each epoch.
        valid_accuracy: ``(E,)``.
        weight_norms: ``(E + 1,)``, see :class:`harness.training.fitting.Trained`.
        effective_steps: ``(E,)``, likewise.
        near_zero: ``(L,)``, for each hidden layer the share of its weights below a tenth of their standard deviation.
        kurtosis: ``(L,)``, of each hidden layer's weights; 3 for a normal distribution.
        max_over_std: ``(L,)``, the largest magnitude in standard deviations.
    """

    test_logits: np.ndarray
    train_accuracy: np.ndarray
    train_loss: np.ndarray
    samples: np.ndarray
    valid_accuracy: np.ndarray
    weight_norms: np.ndarray
    effective_steps: np.ndarray
    near_zero: np.ndarray
    kurtosis: np.ndarray
    max_over_std: np.ndarray


@dataclass
class SupervisedProtocol(StoppableRecipe):
    """
    The protocol and its settings: the recipe that all methods share (see :class:`harness.training.early_stopping.StoppableRecipe`).

    A suite sets the fields under ``protocol:``, for all data sets or for one.
    """

    outcome_type: ClassVar[type] = Outcome

    def confront(self, method: SupervisedMethod, data: ImageData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """Fit ``method`` on what it may see, and look at its network."""
        trained = method.fit(self.view(data, privileges), run)
        train_logits = predict_logits(trained.network, data.train.x)
        weights = [weight.double().cpu().flatten().numpy() for weight in hidden_weights(trained.network)]

        return Outcome(
            test_logits=checked_logits(trained, data),
            train_accuracy=np.array(float((train_logits.argmax(dim=1) == data.train.y).double().mean())),
            train_loss=np.array(float(cross_entropy(train_logits, data.train.y))),
            samples=trained.samples,
            valid_accuracy=trained.valid_accuracy,
            weight_norms=trained.weight_norms,
            effective_steps=trained.effective_steps,
            near_zero=np.array([(np.abs(weight) < NEAR_ZERO * weight.std()).mean() for weight in weights]),
            kurtosis=np.array([kurtosis(weight, fisher=False) for weight in weights]),
            max_over_std=np.array([np.abs(weight).max() / weight.std() for weight in weights]),
        )

    def for_tuning(self, data: ImageData) -> ImageData:
        """Return the data with the validation set in the place of the test set."""
        return replace(data, test=data.valid)

    def shuffle_hidden(self, data: ImageData, rng: np.random.Generator, privileges: tuple[str, ...]) -> ImageData:
        """Return the data with the test labels in random order."""
        return replace(data, test=LabelledSet(data.test.x, data.test.y[torch.from_numpy(rng.permutation(len(data.test)))]))

    def view(self, data: ImageData, privileges: tuple[str, ...]) -> ImageView:
        """Return what a method may see. Tensors are copies: nothing that a method does to them reaches the metrics."""
        return ImageView(
            train=LabelledSet(data.train.x.clone(), data.train.y.clone()),
            valid=LabelledSet(data.valid.x.clone(), data.valid.y.clone()),
            n_classes=data.n_classes,
            recipe=self,
        )
