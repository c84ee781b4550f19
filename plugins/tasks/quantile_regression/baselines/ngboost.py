"""
NGBoost (Duan et al. 2020): mean and scale of a normal distribution, boosted together along the natural gradient of a proper score.

The package `ngboost` asks for older versions of scikit-learn and pandas than the rest of this environment; these are its steps, and tests hold them to
numbers of its own code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
from annotated_types import Ge, Gt
from scipy.special import ndtr
from sklearn.base import clone
from sklearn.tree import DecisionTreeRegressor

from harness import Search
from plugins.tasks.quantile_regression.protocol import Prediction
from plugins.tasks.quantile_regression.quantiles import normal_quantiles, pinball_array

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantile_regression.protocol import QuantileView

__all__ = ["NGBoost", "Score", "Step", "boosting_step", "crps", "log_score", "marginal_parameters", "scaling"]

LARGEST_SCALING = 256
SMALLEST_STEP = 1e-4  # mean length of a step at which the line search ends


class Score(NamedTuple):
    """
    A proper score of normal distributions ``N(mu, sigma ** 2)``, and where it falls.

    Args:
        value: ``(n,)``, smaller is better.
        natural_gradient: ``(n, 2)``, by ``mu`` and ``log sigma``, in the metric that belongs to the score.
    """

    value: np.ndarray
    natural_gradient: np.ndarray


def log_score(parameters: np.ndarray, y: np.ndarray) -> Score:
    """Return the negative log-likelihood of ``(n,)`` responses under ``(n, 2)`` parameters ``mu`` and ``log sigma``."""
    mean, log_scale = parameters.T
    z = (y - mean) / np.exp(log_scale)

    return Score(0.5 * np.log(2 * np.pi) + log_scale + z**2 / 2, np.column_stack((mean - y, (1 - z**2) / 2)))


def crps(parameters: np.ndarray, y: np.ndarray) -> Score:
    """
    Return the continuous ranked probability score, arguments as of :func:`log_score`.

    The metric is that of the authors' code, ``diag(2, sigma ** 2) / (2 sqrt(pi))``, which is the exact one times sigma.
    """
    mean, scale = parameters[:, 0], np.exp(parameters[:, 1])
    z = (y - mean) / scale
    tilt, density = 2 * ndtr(z) - 1, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    value = scale * (z * tilt + 2 * density - 1 / np.sqrt(np.pi))
    natural = np.column_stack((-tilt, 2 * (value - (y - mean) * tilt) / scale**2))

    return Score(value, natural * np.sqrt(np.pi))


ScoreFunction = Callable[[np.ndarray, np.ndarray], Score]
SCORES: dict[str, ScoreFunction] = {"log": log_score, "crps": crps}


def scaling(score: ScoreFunction, parameters: np.ndarray, step: np.ndarray, y: np.ndarray) -> float:
    """
    Return by how much a step is multiplied: doubled from 1 while the mean score does not rise, then halved until it is lower than without the step.

    Args:
        score: A function as :func:`log_score`.
        parameters: ``(n, 2)``.
        step: ``(n, 2)``, to be subtracted from them.
        y: ``(n,)``.
    """

    def mean_score(factor: float) -> float:
        # of a step that is far too long; what is not finite counts as worse
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return float(score(parameters - factor * step, y).value.mean())

    start, factor = mean_score(0.0), 1.0
    while factor <= LARGEST_SCALING and mean_score(factor) <= start:
        factor *= 2
    length = np.linalg.norm(step, axis=1).mean()
    while factor * length >= SMALLEST_STEP and not mean_score(factor) < start:
        factor /= 2

    return factor


class Step(NamedTuple):
    """
    Two trees, one for each parameter, and the factor of what they say.

    Args:
        trees: Of ``mu`` and of ``log sigma``.
        factor: What they are multiplied by.
    """

    trees: tuple[DecisionTreeRegressor, ...]
    factor: float

    def of(self, x: np.ndarray) -> np.ndarray:
        """Return what is subtracted from the parameters of rows ``(n, d)``: ``(n, 2)``."""
        return self.factor * np.column_stack([tree.predict(x) for tree in self.trees])


def marginal_parameters(y: np.ndarray) -> np.ndarray:
    """Return mean and logarithm of the standard deviation, ``(2,)``, where boosting starts."""
    return np.array([y.mean(), np.log(y.std())])


def boosting_step(x: np.ndarray, y: np.ndarray, parameters: np.ndarray, score: ScoreFunction, tree: DecisionTreeRegressor) -> Step:
    """
    Fit a tree to the natural gradient of each parameter and choose their factor by :func:`scaling`.

    Args:
        x: ``(n, d)``.
        y: ``(n,)``.
        parameters: ``(n, 2)``, so far.
        score: A function as :func:`log_score`.
        tree: Not fitted; copies of it are.
    """
    gradient = score(parameters, y).natural_gradient
    step = Step(tuple(clone(tree).fit(x, column) for column in gradient.T), 1.0)

    return step._replace(factor=scaling(score, parameters, step.of(x), y))


@dataclass
class NGBoost:
    """
    Boost trees along the natural gradient of a normal distribution's score (arXiv:1910.03225); rounds by the pinball loss on the validation part.

    Args:
        score: What is minimised.
        learning_rate: Share of each step that is taken.
        max_depth: Of a tree.
        min_samples_leaf: Rows in a leaf, at least.
        patience: Rounds without a smaller loss on the validation part after which boosting stops; the rounds up to the smallest are kept.
    """

    score: Annotated[Literal["log", "crps"], Search(choices=("log", "crps"))] = "log"
    learning_rate: Annotated[float, Gt(0), Search(choices=(0.01, 0.03, 0.1))] = 0.03
    max_depth: Annotated[int, Ge(1), Search(choices=(2, 3, 4))] = 3
    min_samples_leaf: Annotated[int, Ge(1), Search(choices=(1, 5, 20))] = 1
    patience: Annotated[int, Ge(1)] = 50

    def fit(self, data: QuantileView, run: Run) -> _Boosted:
        """Boost for at most ``run.budget.steps`` rounds; samples of the line search and of the looks at the validation part are not counted."""
        (x, y), score = data.train, SCORES[self.score]
        tree = DecisionTreeRegressor(
            max_depth=self.max_depth, min_samples_leaf=self.min_samples_leaf, random_state=run.derive_seed("trees") % 2**31
        )
        start = marginal_parameters(y)
        train, valid = np.tile(start, (len(y), 1)), np.tile(start, (len(data.valid.y), 1))
        steps: list[Step] = []
        best_loss, best_count = np.inf, 0
        for count in range(1, run.budget.require("steps") + 1):
            step = boosting_step(x, y, train, score, tree)
            steps.append(step._replace(factor=self.learning_rate * step.factor))
            train, valid = train - steps[-1].of(x), valid - steps[-1].of(data.valid.x)
            run.count(forward=len(y), backward=len(y))
            loss = pinball_array(_quantiles(valid, data.levels), data.valid.y, data.levels).mean()
            if loss < best_loss:
                best_loss, best_count = loss, count
            elif count - best_count >= self.patience:
                break

        return _Boosted(start, steps[:best_count], data.levels)


class _Boosted:
    def __init__(self, start: np.ndarray, steps: list[Step], levels: np.ndarray) -> None:
        self._start = start
        self._steps = steps
        self._levels = levels

    def predict(self, x: np.ndarray, base: np.ndarray | None) -> Prediction:
        """Predict quantiles of a normal distribution, which never cross."""
        quantiles = _quantiles(self._start - sum(step.of(x) for step in self._steps), self._levels)

        return Prediction(quantiles, quantiles)


def _quantiles(parameters: np.ndarray, levels: np.ndarray) -> np.ndarray:
    return normal_quantiles(parameters[:, 0], np.exp(parameters[:, 1]), levels)
