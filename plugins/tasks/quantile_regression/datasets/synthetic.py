"""A synthetic set whose conditional quantiles are known, so that a prediction can be compared with the truth and not with a draw from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge
from scipy.optimize import brentq
from scipy.stats import expon, norm

from harness import Run
from plugins.tasks.quantile_regression.datasets.parts import Levels, level_array, quantile_data, random_split
from plugins.tasks.quantile_regression.protocol import QuantileData

__all__ = ["Heteroscedastic", "noise_quantiles"]

ATTRIBUTES = 5


def noise_quantiles(levels: np.ndarray) -> np.ndarray:
    """
    Return the quantiles of the noise: with equal chances standard normal, or exponential of mean 1 shifted to mean 0.

    Args:
        levels: ``(m,)``.

    Returns:
        ``(m,)``, to twelve digits.
    """

    def excess(value: float, level: float) -> float:
        return 0.5 * norm.cdf(value) + 0.5 * expon.cdf(value + 1) - level

    return np.array([brentq(excess, -20, 60, args=(level,), xtol=1e-13) for level in levels])


@dataclass
class Heteroscedastic(Levels):
    """
    ``y = sin(2 x_1) + x_2 ** 2 / 2 + exp(x_3 / 2 - 0.3 x_1) e``, with ``x`` uniform in [-2, 2] ** 5 and ``e`` of :func:`noise_quantiles`.

    Two attributes are of no use.

    Args:
        n_rows: In all; 72 % train.
    """

    n_rows: Annotated[int, Ge(20)] = 400

    def load(self, run: Run) -> QuantileData:
        """Draw by the stream ``noise`` and split."""
        rng, levels = run.rng("noise"), level_array(self.levels)
        x = rng.uniform(-2, 2, size=(self.n_rows, ATTRIBUTES))
        noise = np.where(rng.random(self.n_rows) < 0.5, rng.normal(size=self.n_rows), rng.exponential(size=self.n_rows) - 1)
        location, spread = np.sin(2 * x[:, 0]) + 0.5 * x[:, 1] ** 2, np.exp(0.5 * x[:, 2] - 0.3 * x[:, 0])
        y = location + spread * noise
        known = location[:, None] + spread[:, None] * noise_quantiles(levels)
        columns = tuple(f"x{number}" for number in range(1, ATTRIBUTES + 1))

        return quantile_data(x, y, columns, random_split(run, self.n_rows), levels, known).data
