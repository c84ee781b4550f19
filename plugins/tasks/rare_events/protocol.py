"""
Rare events among ordered classes: predict the probability of the last class, the rare one.

The protocol: a method fits on the training set and predicts the probability of the rare class for the training points and for test points that it has not
seen. Where the data are drawn from a known model, the true probabilities are known too, and predictions are held against them at the training points, as
the papers do, and at fresh ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from harness.context import Run

__all__ = [
    "Forecast",
    "OrdinalSet",
    "OrdinalTraining",
    "Outcome",
    "RareEventMethod",
    "RareEventModel",
    "RareEvents",
    "RareEventsProtocol",
    "check_data",
]

VALIDATION_SHARE = 5  # for tuning, every fifth sample of a class validates


class OrdinalSet(NamedTuple):
    """
    Samples with ordered classes.

    Args:
        x: ``(n, p)`` float64, finite.
        y: ``(n,)`` int64, classes 0 ... K-1 in their order, the rare one last.
    """

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class RareEvents:
    """
    All that a data set gives, the truth included; only the task and its metrics see this.

    Args:
        train: The training set, rows in random order.
        test: The test set.
        n_classes: Number of classes K, at least 2.
        columns: ``p`` names of the columns of ``x``.
        train_probability: ``(n,)``, the true probability of the rare class at the training points, or ``None`` where nobody knows it.
        test_probability: ``(m,)``, likewise at the test points.
    """

    train: OrdinalSet
    test: OrdinalSet
    n_classes: int
    columns: tuple[str, ...]
    train_probability: np.ndarray | None = None
    test_probability: np.ndarray | None = None


@dataclass(frozen=True)
class OrdinalTraining:
    """
    What a method sees.

    Args:
        x: ``(n, p)`` float64.
        y: ``(n,)`` int64, classes 0 ... K-1, the rare one last; every class occurs.
        n_classes: K.
        columns: Names of the columns of ``x``.
    """

    x: np.ndarray
    y: np.ndarray
    n_classes: int
    columns: tuple[str, ...]

    @property
    def is_rare(self) -> np.ndarray:
        """``(n,)`` int64, 1 where the class is the rare one."""
        rare: np.ndarray = (self.y == self.n_classes - 1).astype(np.int64)

        return rare


class Forecast(NamedTuple):
    """
    Predictions.

    Args:
        rare: ``(n,)``, the probability of the rare class, in [0, 1].
        classes: ``(n, K)``, the probabilities of all classes, of a method that models them; an entry may be negative where a model allows that.
    """

    rare: np.ndarray
    classes: np.ndarray | None = None


class RareEventModel(Protocol):
    """What a method returns."""

    def predict(self, x: np.ndarray) -> Forecast:
        """Predict for points ``(n, p)``."""


class RareEventMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: OrdinalTraining, run: Run) -> RareEventModel:
        """Fit on the training set; what has to be tuned is tuned within it."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read.

    Args:
        train: ``(n,)`` float64, the predicted probability of the rare class at the training points.
        test: ``(m,)`` float64, likewise at the test points.
        test_classes: ``(m, K)`` float64, the predicted probabilities of all classes at the test points, or ``None``.
    """

    train: np.ndarray
    test: np.ndarray
    test_classes: np.ndarray | None


@dataclass
class RareEventsProtocol:
    """The protocol; it has no settings, since no recipe of training is shared."""

    outcome_type: ClassVar[type] = Outcome

    def confront(self, method: RareEventMethod, data: RareEvents, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Fit ``method`` on the training set and predict both sets.

        Raises:
            ValueError: The data do not make sense (:func:`check_data`), or a prediction has another shape than it should.
        """
        check_data(data)
        run.witness("split", data.train.x)
        run.witness("split", data.train.y)
        model = method.fit(OrdinalTraining(data.train.x.copy(), data.train.y.copy(), data.n_classes, data.columns), run)
        test = model.predict(data.test.x.copy())

        return Outcome(
            train=_rare(model.predict(data.train.x.copy()), len(data.train.y)),
            test=_rare(test, len(data.test.y)),
            test_classes=None if test.classes is None else _shaped(test.classes, (len(data.test.y), data.n_classes), "classes"),
        )

    def for_tuning(self, data: RareEvents) -> RareEvents:
        """
        Return the data with a fifth of the training set, by class, in the place of the test set.

        The true probabilities are left out: on real data nobody could tune by them.
        """
        position = np.empty(len(data.train.y), dtype=np.int64)
        for label in range(data.n_classes):
            members = np.flatnonzero(data.train.y == label)
            position[members] = np.arange(len(members))
        validates = position % VALIDATION_SHARE == VALIDATION_SHARE // 2

        return replace(
            data,
            train=OrdinalSet(data.train.x[~validates], data.train.y[~validates]),
            test=OrdinalSet(data.train.x[validates], data.train.y[validates]),
            train_probability=None,
            test_probability=None,
        )

    def shuffle_hidden(self, data: RareEvents, rng: np.random.Generator, privileges: tuple[str, ...]) -> RareEvents:
        """Return the data with the test labels and all true probabilities in random order."""

        def shuffled(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rng.permutation(len(values))]

        return replace(
            data,
            test=OrdinalSet(data.test.x, data.test.y[rng.permutation(len(data.test.y))]),
            train_probability=shuffled(data.train_probability),
            test_probability=shuffled(data.test_probability),
        )


def check_data(data: RareEvents) -> None:
    """
    Refuse data that no method could make sense of.

    Raises:
        ValueError: A set is empty, a column holds a value that is not finite, a label is none of the classes, or a class has no training sample. The message
            names the set and the column or class.
    """
    for name, part in (("training", data.train), ("test", data.test)):
        if len(part.y) == 0:
            raise ValueError(f"the {name} set has no samples")
        if part.x.shape != (len(part.y), len(data.columns)):
            raise ValueError(
                f"x of the {name} set has shape {part.x.shape}, expected {(len(part.y), len(data.columns))} for {len(part.y)} labels and "
                f"{len(data.columns)} columns"
            )
        bad = ~np.isfinite(part.x)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise ValueError(
                f"column '{data.columns[column]}' of the {name} set holds {part.x[row, column]} in row {row}; fill in or leave out what is missing"
            )
        if part.y.min() < 0 or part.y.max() >= data.n_classes:
            raise ValueError(
                f"y of the {name} set holds the class {part.y.min() if part.y.min() < 0 else part.y.max()}; "
                f"with {data.n_classes} classes they are 0 to {data.n_classes - 1}"
            )
    present = np.bincount(data.train.y, minlength=data.n_classes)
    if (present > 0).sum() < 2:
        raise ValueError(f"y of the training set holds the class {int(np.argmax(present))} alone; there is nothing to tell apart")
    if (present == 0).any():
        raise ValueError(f"y of the training set holds no sample of class {int(np.argmin(present))} of {data.n_classes}; draw a larger one")


def _rare(forecast: Forecast, n: int) -> np.ndarray:
    return _shaped(forecast.rare, (n,), "rare")


def _shaped(values: np.ndarray, expected: tuple[int, ...], name: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != expected:
        raise ValueError(f"'{name}' of the forecast has shape {values.shape}, expected {expected}")

    return values
