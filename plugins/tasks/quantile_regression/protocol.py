"""
Quantile regression: predict several quantiles of a response at once, by one model or by an aggregate of several.

The protocol: a method fits on training and validation rows and predicts a matrix of quantiles for test rows, which it sees when it predicts and not
before. What aggregators combine is the same for all of them: the predictions of the base models, out of fold for the training rows, and by models that
were fitted on the whole training part for validation and test rows. They are built once for each data set and seed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import numpy as np

from plugins.tasks.quantile_regression.base_models import BaseModelSettings, Rows, fit_base_model, search_base_model
from plugins.tasks.quantile_regression.quantiles import check_levels

if TYPE_CHECKING:
    from pathlib import Path

    from harness.context import Run

__all__ = [
    "BasePredictions",
    "Outcome",
    "Prediction",
    "QuantileData",
    "QuantileMethod",
    "QuantileModel",
    "QuantileRegressionProtocol",
    "QuantileView",
    "sorted_prediction",
]

PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class QuantileData:
    """
    All that a data set gives, the test responses included; only the task and its metrics see this.

    Args:
        train: The training part.
        valid: The validation part.
        test: The test part.
        levels: ``(m,)`` float64, strictly increasing inside (0, 1).
        columns: Names of the d attributes, for messages.
        test_quantiles: ``(n_test, m)``, the true quantiles of the test rows where they are known.

    Raises:
        ValueError: A part is empty or does not fit the others, a level is wrong, or a value is missing; the text names the column or the field.
    """

    train: Rows
    valid: Rows
    test: Rows
    levels: np.ndarray
    columns: tuple[str, ...]
    test_quantiles: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_levels(self.levels)
        for name in PARTS:
            part: Rows = getattr(self, name)
            if len(part.y) == 0:
                raise ValueError(f"the part '{name}' has no rows")
            if part.x.shape != (len(part.y), len(self.columns)):
                raise ValueError(f"'{name}.x' has shape {part.x.shape}, expected {(len(part.y), len(self.columns))} by its y and 'columns'")
            bad = np.flatnonzero(~np.isfinite(part.x).all(axis=0))
            if len(bad) > 0:
                raise ValueError(f"column '{self.columns[bad[0]]}' of the part '{name}' holds values that are missing or not finite")
            if not np.isfinite(part.y).all():
                raise ValueError(f"the response 'y' of the part '{name}' holds values that are missing or not finite")


@dataclass(frozen=True)
class BasePredictions:
    """
    The tensor Z that aggregators combine.

    Args:
        names: Of the p base models.
        train: ``(n, p, m)`` float32, out of fold: no row was seen by the model that predicts it.
        valid: ``(n_valid, p, m)`` float32, by models that were fitted on the training part.
    """

    names: tuple[str, ...]
    train: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class QuantileView:
    """
    What a method sees before it predicts.

    Args:
        train: The training part.
        valid: The validation part, for choosing and stopping.
        levels: ``(m,)``.
        recipe: The settings of the base models.
        base: Their predictions; only for methods with the privilege ``base_predictions``, else ``None``.
    """

    train: Rows
    valid: Rows
    levels: np.ndarray
    recipe: BaseModelSettings
    base: BasePredictions | None = None

    def require_base(self) -> BasePredictions:
        """
        Return the base predictions.

        Raises:
            ValueError: The method's spec does not ask for the privilege.
        """
        if self.base is None:
            raise ValueError("this method combines base models: its spec needs the privilege 'base_predictions'")

        return self.base


class Prediction(NamedTuple):
    """
    What a method says of new rows.

    Args:
        quantiles: ``(n, m)``, as they are judged.
        raw: ``(n, m)``, before crossing was repaired and before any calibration.
    """

    quantiles: np.ndarray
    raw: np.ndarray


class QuantileModel(Protocol):
    """What fitting gives."""

    def predict(self, x: np.ndarray, base: np.ndarray | None) -> Prediction:
        """Predict rows ``(n, d)``, whose base predictions are ``(n, p, m)`` for a method with that privilege."""


class QuantileMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: QuantileView, run: Run) -> QuantileModel:
        """Fit on training and validation part, an iterative method within ``run.budget.steps``."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read.

    Args:
        quantiles: ``(n_test, m)`` float64, as they are judged.
        raw: ``(n_test, m)`` float64, before repair.
    """

    quantiles: np.ndarray
    raw: np.ndarray


def sorted_prediction(raw: np.ndarray) -> Prediction:
    """Sort each row, which never increases the sum of the pinball losses at evenly spaced levels."""
    return Prediction(quantiles=np.sort(raw, axis=1), raw=raw)


@dataclass
class QuantileRegressionProtocol(BaseModelSettings):
    """
    The protocol; its settings are those of the base models (see :class:`plugins.tasks.quantile_regression.base_models.BaseModelSettings`).

    A suite sets the fields under ``protocol:``, for all data sets or for one.
    """

    outcome_type: ClassVar[type] = Outcome

    def build_artifact(self, data: QuantileData, run: Run, folder: Path) -> None:
        """Write the base predictions of the three parts, ``train.npy``, ``valid.npy`` and ``test.npy``: ``(n, p, m)`` float32 each."""
        for name, array in zip(PARTS, self.base_predictions(data, run), strict=True):
            np.save(folder / f"{name}.npy", array)

    def base_predictions(self, data: QuantileData, run: Run) -> list[np.ndarray]:
        """
        Fit every base model on the whole training part, as often as its search asks, and without each fold, and predict all rows.

        Returns:
            ``(n, p, m)`` float32 for the training part, out of fold, then for the validation and the test part.

        Raises:
            ValueError: There are fewer training rows than folds.
        """
        train, valid = data.train, data.valid
        if len(train.y) < self.folds:
            raise ValueError(f"{len(train.y)} training rows cannot be divided into {self.folds} folds ('folds' of the protocol)")
        predictions = [np.empty((len(getattr(data, part).y), len(self.base_models), len(data.levels)), dtype=np.float32) for part in PARTS]
        for j, name in enumerate(self.base_models):
            whole = search_base_model(name, train, valid, data.levels, self, run)
            for k, held_out in enumerate(np.array_split(np.arange(len(train.y)), self.folds)):
                seen = np.delete(np.arange(len(train.y)), held_out)
                predict = fit_base_model(
                    name, Rows(train.x[seen], train.y[seen]), valid, data.levels, self, run, whole.values, part=f"without fold {k}"
                )
                predictions[0][held_out, j] = predict(train.x[held_out])
            predictions[1][:, j], predictions[2][:, j] = whole.predict(valid.x), whole.predict(data.test.x)

        return predictions

    def confront(self, method: QuantileMethod, data: QuantileData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Fit ``method`` on what it may see, then ask it for the quantiles of the test rows.

        Raises:
            ValueError: It needs base predictions and there are none, or what it predicts has the wrong shape.
        """
        base, test_base = None, None
        if "base_predictions" in privileges:
            if run.artifact is None:
                raise ValueError("base predictions are the artifact of this task, and this trial was given none")
            train, valid, test_base = (np.load(run.artifact / f"{part}.npy") for part in PARTS)
            base = BasePredictions(tuple(self.base_models), train, valid)

        model = method.fit(self.view(data, base), run)
        prediction = model.predict(data.test.x.copy(), test_base)
        expected = (len(data.test.y), len(data.levels))
        for name, array in prediction._asdict().items():
            if np.shape(array) != expected:
                raise ValueError(f"predict gave '{name}' of shape {np.shape(array)}, expected {expected}")

        return Outcome(*(np.array(array, dtype=np.float64) for array in prediction))

    def for_tuning(self, data: QuantileData) -> QuantileData:
        """Return the data with the validation part in the place of the test part; its true quantiles are not known."""
        return replace(data, test=data.valid, test_quantiles=None)

    def shuffle_hidden(self, data: QuantileData, rng: np.random.Generator, privileges: tuple[str, ...]) -> QuantileData:
        """Return the data with the test responses, and what is known of their distribution, in random order."""
        order = rng.permutation(len(data.test.y))
        known = data.test_quantiles

        return replace(data, test=Rows(data.test.x, data.test.y[order]), test_quantiles=None if known is None else known[order])

    def view(self, data: QuantileData, base: BasePredictions | None) -> QuantileView:
        """Return what a method may see. Arrays are copies: nothing that a method does to them reaches the metrics."""
        settings = BaseModelSettings(**{field.name: getattr(self, field.name) for field in fields(BaseModelSettings)})

        return QuantileView(
            train=Rows(*(array.copy() for array in data.train)),
            valid=Rows(*(array.copy() for array in data.valid)),
            levels=data.levels.copy(),
            recipe=settings,
            base=base,
        )
