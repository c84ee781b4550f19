"""
Learning with noisy labels: train a classifier on a training set of which some labels are wrong.

The protocol: a method fits on the noisy training labels and may watch a validation set; it is judged on a clean test set that it never sees. Two states of
its classifier are judged: after the last epoch, and at the epoch of the best validation score, because early stopping alone is a strong method here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import torch

from harness.training.classifier import Classifier, Fitted, LabelledSet, NetworkEnsemble
from plugins.tasks.noisy_labels.recipe import Recipe

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["NoisyDataset", "NoisyLabelMethod", "NoisyLabels", "NoisyLabelsProtocol", "Outcome"]


@dataclass(frozen=True)
class NoisyDataset:
    """
    All that a data set gives, the truth included; only the task and its metrics see this.

    Args:
        train: The training set with its noisy labels.
        train_clean_y: ``(N,)``, the true labels of the training set.
        valid: The validation set with the labels that methods see (noisy, unless the data set says otherwise).
        valid_clean_y: ``(M,)``, the true labels of the validation set.
        test: The test set with true labels.
        n_classes: Number of classes C.
        noise_rate: The expected rate of wrong labels, in [0, 1).
    """

    train: LabelledSet
    train_clean_y: torch.Tensor
    valid: LabelledSet
    valid_clean_y: torch.Tensor
    test: LabelledSet
    n_classes: int
    noise_rate: float


@dataclass(frozen=True)
class NoisyLabels:
    """
    What a method sees.

    Args:
        train: The training set, labels noisy. The position of a sample is its index for as long as the trial lives.
        valid: The validation set, labels noisy unless the data set says otherwise.
        n_classes: Number of classes C.
        recipe: The model, optimiser and batch size that every method of the suite shares.
        trusted: The validation samples with true labels; only for methods with the privilege ``clean_validation``, else ``None``.
        noise_rate: The rate of wrong labels; only for methods with the privilege ``noise_rate``, else ``None``.
    """

    train: LabelledSet
    valid: LabelledSet
    n_classes: int
    recipe: Recipe
    trusted: LabelledSet | None = None
    noise_rate: float | None = None


class NoisyLabelMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train within ``run.budget.epochs`` and return both classifiers."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read.

    Args:
        last: ``(n_test, C)``, test probabilities after the last epoch, float32.
        best: ``(n_test, C)``, test probabilities at the best validation epoch, float32.
        single: ``(n_test, C)``, as ``last``, of the first network alone where a method trains several.
        sample_weights: ``(N,)`` float32, or ``None``.
    """

    last: np.ndarray
    best: np.ndarray
    single: np.ndarray
    sample_weights: np.ndarray | None


@dataclass
class NoisyLabelsProtocol(Recipe):
    """
    The protocol and its settings: the recipe that all methods share (see :class:`plugins.tasks.noisy_labels.recipe.Recipe`).

    A suite sets the fields under ``protocol:``, for all data sets or for one.
    """

    outcome_type: ClassVar[type] = Outcome

    def confront(self, method: NoisyLabelMethod, data: NoisyDataset, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """Fit ``method`` on what it may see and predict the test set with both of its classifiers."""
        run.witness("noise", data.train.y.numpy())
        fitted = method.fit(self.view(data, privileges), run)
        weights = fitted.sample_weights

        return Outcome(
            last=_probabilities(fitted.last, data),
            best=_probabilities(fitted.best, data),
            single=_probabilities(_first_network(fitted.last), data),
            sample_weights=None if weights is None else weights.detach().cpu().numpy().astype(np.float32),
        )

    def for_tuning(self, data: NoisyDataset) -> NoisyDataset:
        """Return the data with the validation set, labels as methods see them, in the place of the test set."""
        return replace(data, test=data.valid)

    def shuffle_hidden(self, data: NoisyDataset, rng: np.random.Generator, privileges: tuple[str, ...]) -> NoisyDataset:
        """Return the data with all true labels that a method with these privileges must not see in random order."""

        def shuffled(y: torch.Tensor) -> torch.Tensor:
            return y[torch.from_numpy(rng.permutation(len(y)))]

        return replace(
            data,
            train_clean_y=shuffled(data.train_clean_y),
            valid_clean_y=data.valid_clean_y if "clean_validation" in privileges else shuffled(data.valid_clean_y),
            test=LabelledSet(data.test.x, shuffled(data.test.y)),
        )

    def view(self, data: NoisyDataset, privileges: tuple[str, ...]) -> NoisyLabels:
        """Return what a method with these privileges may see. Tensors are copies: nothing that a method does to them reaches the metrics."""
        return NoisyLabels(
            train=LabelledSet(data.train.x.clone(), data.train.y.clone()),
            valid=LabelledSet(data.valid.x.clone(), data.valid.y.clone()),
            n_classes=data.n_classes,
            recipe=self,
            trusted=LabelledSet(data.valid.x.clone(), data.valid_clean_y.clone()) if "clean_validation" in privileges else None,
            noise_rate=data.noise_rate if "noise_rate" in privileges else None,
        )


def _first_network(classifier: Classifier) -> Classifier:
    return NetworkEnsemble(classifier.networks[:1]) if isinstance(classifier, NetworkEnsemble) else classifier


def _probabilities(classifier: Classifier, data: NoisyDataset) -> np.ndarray:
    """Predict the test set and check the shape that metrics rely on."""
    probabilities = classifier.predict_proba(data.test.x.clone()).detach().cpu().numpy().astype(np.float32)
    expected = (len(data.test), data.n_classes)
    if probabilities.shape != expected:
        raise ValueError(f"predict_proba gave shape {probabilities.shape}, expected {expected}")

    return probabilities
