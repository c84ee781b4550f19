"""Gradient boosting of the rare class against the rest, its scores calibrated on folds that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from harness import Search
from plugins.tasks.rare_events.protocol import Forecast

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = ["BoostedModel", "GradientBoosting"]


@dataclass(frozen=True)
class BoostedModel:
    """
    A classifier of scikit-learn's kind.

    Args:
        classifier: Fitted to 0 and 1.
    """

    classifier: Any  # Any: scikit-learn has no types

    def predict(self, x: np.ndarray) -> Forecast:
        """Predict the rare class alone."""
        return Forecast(rare=self.classifier.predict_proba(x)[:, 1])


@dataclass
class GradientBoosting:
    """
    Boost small trees and calibrate their scores by cross-validation (LightGBM, Ke et al. 2017; calibration: Zadrozny & Elkan 2002).

    Args:
        n_trees: Rounds of boosting.
        learning_rate: Of each.
        n_leaves: Of a tree, at most.
        calibration: How the scores of the held-out folds become probabilities: a step function, a sigmoid, or as they are.
        n_folds: Of the calibration, or as many as there are rare samples, if fewer; the mean of the folds' models predicts.
    """

    n_trees: Annotated[int, Ge(1), Search(50, 400, log=True)] = 100
    learning_rate: Annotated[float, Gt(0), Le(1), Search(0.01, 0.3, log=True)] = 0.05
    n_leaves: Annotated[int, Ge(2), Search(4, 31, log=True)] = 8
    calibration: Literal["isotonic", "sigmoid", "none"] = "isotonic"
    n_folds: Annotated[int, Ge(2)] = 5

    def fit(self, data: OrdinalTraining, run: Run) -> BoostedModel:
        """
        Fit one model a fold, or a single one without calibration.

        Raises:
            ValueError: There is but one rare sample to calibrate with.
        """
        from lightgbm import LGBMClassifier
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.model_selection import StratifiedKFold

        t = data.is_rare
        trees = LGBMClassifier(
            n_estimators=self.n_trees,
            learning_rate=self.learning_rate,
            num_leaves=self.n_leaves,
            n_jobs=1,
            deterministic=True,
            force_row_wise=True,
            verbose=-1,
        )
        if self.calibration == "none":
            return BoostedModel(trees.fit(data.x, t))
        n_folds = min(self.n_folds, int(t.sum()))
        if n_folds < 2:
            raise ValueError(f"{n_folds} sample of the rare class cannot be left out and learnt from; set 'calibration: none'")
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=int(run.rng("folds").integers(2**31)))

        return BoostedModel(CalibratedClassifierCV(trees, method=self.calibration, cv=folds).fit(data.x, t))
