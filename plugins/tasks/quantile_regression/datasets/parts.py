"""What the data sets of this task have in common: levels, the split, and a scale that comes from the training part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Lt

from harness import Run
from plugins.tasks.quantile_regression.base_models import Rows
from plugins.tasks.quantile_regression.protocol import QuantileData
from plugins.tasks.quantile_regression.quantiles import check_levels

__all__ = ["Levels", "Scaled", "Split", "level_array", "quantile_data", "random_split"]

TEST_SHARE = 0.1
VALID_SHARE = 0.2  # of the rows that are not for testing: 72, 18 and 10 % in all


class Split(NamedTuple):
    """Positions of the rows of each part, int64."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


class Scaled(NamedTuple):
    """
    The data, and how its response is scaled: ``y * scale + mean`` is in the unit of the table.

    Args:
        data: Standardised.
        mean: Of the training responses.
        scale: Their standard deviation.
    """

    data: QuantileData
    mean: float
    scale: float


@dataclass
class Levels:
    """
    The quantile levels, which are part of the data.

    Args:
        levels: A whole number m stands for ``k / (m + 1)``, k = 1 .. m: 9 for 0.1 to 0.9, 99 for the percentiles. Or the levels themselves, rising.
    """

    levels: tuple[Annotated[float, Gt(0), Lt(1)], ...] | Annotated[int, Ge(1)] = (
        9  # in this order, so that a wrong level is what an error names
    )

    def __post_init__(self) -> None:
        check_levels(level_array(self.levels))


def level_array(levels: int | tuple[float, ...]) -> np.ndarray:
    """Return the levels as ``(m,)`` float64."""
    if isinstance(levels, int):
        return np.arange(1, levels + 1) / (levels + 1)

    return np.array(levels, dtype=np.float64)


def random_split(run: Run, n: int, n_rows: int | None = None) -> Split:
    """
    Draw 72, 18 and 10 % of the rows to train, validate and test by the stream ``split``, and witness them.

    Args:
        run: For its stream.
        n: Rows of the table.
        n_rows: How many of them are drawn; all by default.
    """
    order = run.rng("split").permutation(n)[:n_rows]
    run.witness("split", order)
    n_test = round(TEST_SHARE * len(order))
    n_valid = round(VALID_SHARE * (len(order) - n_test))

    return Split(order[n_test + n_valid :], order[n_test : n_test + n_valid], order[:n_test])


def quantile_data(
    x: np.ndarray, y: np.ndarray, columns: tuple[str, ...], split: Split, levels: np.ndarray, true_quantiles: np.ndarray | None = None
) -> Scaled:
    """
    Divide a table into parts and standardise attributes and response by mean and standard deviation of the training part.

    An attribute that does not vary there is centred alone.

    Args:
        x: ``(n, d)``.
        y: ``(n,)``.
        columns: Names of the attributes.
        split: Which rows.
        levels: ``(m,)``.
        true_quantiles: ``(n, m)`` in the unit of ``y``, where they are known.

    Raises:
        ValueError: A value is missing; the text names the column. Or the training responses do not vary.
    """
    mean, scale = x[split.train].mean(axis=0), x[split.train].std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    y_mean, y_scale = float(y[split.train].mean()), float(y[split.train].std())
    if y_scale == 0:
        raise ValueError(f"the response 'y' is {y_mean:g} in all training rows: there is nothing to predict")
    parts = [Rows((x[rows] - mean) / scale, (y[rows] - y_mean) / y_scale) for rows in split]
    known = None if true_quantiles is None else (true_quantiles[split.test] - y_mean) / y_scale

    return Scaled(QuantileData(*parts, levels=levels, columns=columns, test_quantiles=known), y_mean, y_scale)
