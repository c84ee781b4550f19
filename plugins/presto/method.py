"""PRESTO (Faletto & Bien 2023, arXiv:2305.18700): a boundary's weights differ from its neighbour's only where the data insist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from harness import Search
from plugins.tasks.rare_events.likelihood import class_probabilities
from plugins.tasks.rare_events.ordinal_model import OrdinalModel
from plugins.tasks.rare_events.solver import CumulativeFit, Design, Penalty, fit_one, fit_path, penalty_grid, prepare

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = [
    "Presto",
    "assign_folds",
    "chosen_strength",
    "cross_validated_brier",
    "multiclass_brier",
    "released_intercepts",
]


def multiclass_brier(probabilities: np.ndarray, y: np.ndarray) -> float:
    """
    Return the mean over samples of the squared distance between forecast and outcome, summed over the classes.

    Args:
        probabilities: ``(n, K)``; negative entries count as they are, since to clip them would reward boundaries that cross.
        y: ``(n,)``, classes.
    """
    return float(((probabilities - np.eye(probabilities.shape[1])[y]) ** 2).sum(axis=1).mean())


def assign_folds(n: int, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return the fold of each sample, ``(n,)`` in 0 ... n_folds - 1, at random, of equal sizes within one."""
    return rng.permutation(np.arange(n) % n_folds)


def cross_validated_brier(
    x: np.ndarray,
    y: np.ndarray,
    n_classes: int,
    penalty: Penalty,
    strengths: Sequence[float] | np.ndarray,
    folds: np.ndarray,
    as_released: bool = False,
) -> np.ndarray:
    """
    Return the held-out :func:`multiclass_brier` for each strength, ``(len(strengths),)``, averaged over the folds.

    Args:
        x: ``(n, p)``.
        y: ``(n,)``.
        n_classes: K.
        penalty: What is penalised.
        strengths: Falling; each training part is fitted along all of them.
        folds: ``(n,)``, the fold of each sample.
        as_released: Score the model of the differences psi instead of the weights beta, as the released code does.

    Raises:
        ValueError: A class has no sample in the training part of a fold.
    """
    scores = []
    for fold in np.unique(folds):
        held_out = folds == fold
        lost = np.bincount(y[~held_out], minlength=n_classes) == 0
        if lost.any():
            raise ValueError(
                f"class {int(np.argmax(lost))} of {n_classes} has no sample outside fold {fold} of the cross-validation: it is too rare for random folds "
                f"here; set 'stratified: true', or take fewer classes or more data"
            )
        design = prepare(x[~held_out], y[~held_out], n_classes)
        fits = fit_path(design, penalty, strengths)
        scores.append(
            [
                multiclass_brier((_released_forecast(fit, design, x[held_out]) if as_released else fit.predict(x[held_out])), y[held_out])
                for fit in fits
            ]
        )

    return np.mean(scores, axis=0)


def chosen_strength(strengths: Sequence[float] | np.ndarray, scores: np.ndarray) -> float:
    """Return the largest of the strengths that attain the least score."""
    return float(np.max(np.asarray(strengths)[scores == scores.min()]))


def released_intercepts(fit: CumulativeFit, design: Design) -> np.ndarray:
    """Return the intercepts of the released code, ``(q,)``: the mean is taken back with the differences psi where the weights beta belong."""
    q = design.boundaries

    return fit.parameters[:q] - design.mean @ _differences(fit)


def _differences(fit: CumulativeFit) -> np.ndarray:
    """Return psi on the scale of the data, ``(p, q)``."""
    return np.diff(fit.weights, axis=1, prepend=0.0)


def _released_forecast(fit: CumulativeFit, design: Design, x: np.ndarray) -> np.ndarray:
    return class_probabilities(released_intercepts(fit, design) + x @ _differences(fit))


def _stratified_folds(y: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return folds that share out each class evenly."""
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    folds = np.empty(len(y), dtype=np.int64)
    folds[order] = np.arange(len(y)) % n_folds

    return folds


@dataclass
class Presto:
    """
    Fit a cumulative logit model whose weights have an L1 penalty on the differences between neighbouring boundaries; its strength by cross-validation.

    The estimator of arXiv:2305.18700 in the form of its released code, which penalises the weights of the first boundary too.

    Args:
        mix: Share of the L1 penalty; 1 is PRESTO, 0 the paper's PRESTO_L2.
        n_strengths: Points of the grid of strengths.
        smallest_ratio: Its smallest strength, as a share of the one that keeps all weights at 0.
        n_folds: Of the cross-validation.
        stratified: Whether the folds share out the classes evenly; at random in the paper.
        penalize_first: Whether the weights of the first boundary are penalised too.
        as_released: Whether to make the two mistakes of the released code that change predictions: intercepts that belong to other weights, and a
            cross-validation that scores the differences for the weights.
    """

    mix: Annotated[float, Ge(0), Le(1), Search(choices=(0.0, 0.5, 1.0))] = 1.0
    n_strengths: Annotated[int, Ge(3)] = 20
    smallest_ratio: Annotated[float, Gt(0), Lt(1), Search(1e-4, 1e-1, log=True)] = 0.01
    n_folds: Annotated[int, Ge(2)] = 5
    stratified: bool = False
    penalize_first: bool = True
    as_released: bool = False

    def fit(self, data: OrdinalTraining, run: Run) -> OrdinalModel:
        """
        Choose the strength by the held-out Brier score and fit all of the training set with it.

        Raises:
            ValueError: A class has no sample in the training part of a fold.
        """
        weights = np.ones(data.n_classes - 1)
        weights[0] = float(self.penalize_first)
        penalty = Penalty(self.mix, weights)
        design = prepare(data.x, data.y, data.n_classes)
        strengths = penalty_grid(design, penalty, self.n_strengths, self.smallest_ratio)
        rng = run.rng("folds")
        folds = _stratified_folds(data.y, self.n_folds, rng) if self.stratified else assign_folds(len(data.y), self.n_folds, rng)
        scores = cross_validated_brier(data.x, data.y, data.n_classes, penalty, strengths, folds, self.as_released)
        for step, (strength, score) in enumerate(zip(strengths, scores, strict=True)):
            run.log(step, strength=strength, held_out_brier=score)
        fit = fit_one(design, penalty, chosen_strength(strengths, scores))

        return OrdinalModel(released_intercepts(fit, design) if self.as_released else fit.intercepts, fit.weights)
