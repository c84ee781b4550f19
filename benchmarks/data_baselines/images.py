"""Logistic regression on pixels, and the trained ResNet-8; scikit-learn's defaults but for the number of steps, seed 0."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split

from benchmarks.data_baselines.baseline import Baseline
from harness.data import load
from plugins.data.images.animals import ANIMALS
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.images.mnist import MNIST
from plugins.data.images.optdigits import OPTDIGITS
from plugins.models.resnet8.model import load_resnet8, normalise

__all__ = ["BASELINES"]

SEED = 0
MAX_ITER = 300  # of the solver, whose default of 100 stops it on the way


def split_sets() -> Iterator[Baseline]:
    """Fit the first pictures of the training set and score the whole test set."""
    for raw, n_train, stated in ((MNIST, 10_000, 0.916), (FASHION_MNIST, 10_000, 0.836), (CIFAR10, 5_000, 0.349)):
        arrays = load(raw)
        model = LogisticRegression(max_iter=MAX_ITER).fit(_pixels(arrays["train_x"][:n_train]), arrays["train_y"][:n_train])
        accuracy = model.score(_pixels(arrays["test_x"]), arrays["test_y"])
        yield Baseline(f"{raw.name}, logistic regression on {n_train:,} pictures, accuracy", stated, accuracy)


def whole_sets() -> Iterator[Baseline]:
    """The sets without a split: 80/20, and three folds of 4,000."""
    arrays = load(ANIMALS)
    x, y = _pixels(arrays["x"]), np.array(arrays["y"])
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.2, random_state=SEED, stratify=y)
    accuracy = LogisticRegression(max_iter=MAX_ITER).fit(train_x, train_y).score(test_x, test_y)
    yield Baseline("animals, logistic regression on 8,000 pictures, accuracy", 0.797, accuracy)

    arrays = load(OPTDIGITS)
    rows = np.random.default_rng(SEED).permutation(len(arrays["y"]))[:4000]
    x, y = arrays["x"][rows].reshape(len(rows), -1) / 16, arrays["y"][rows]
    scores = cross_val_score(LogisticRegression(max_iter=MAX_ITER), x, y, cv=StratifiedKFold(3, shuffle=True, random_state=SEED))
    yield Baseline("optdigits, logistic regression, 3 folds of 4,000 pictures, accuracy", 0.965, scores.mean())


def trained_network() -> Iterator[Baseline]:
    """ResNet-8 as it was trained, on all test pictures."""
    arrays, model = load(CIFAR10), load_resnet8()
    images, labels = torch.from_numpy(np.array(arrays["test_x"])), torch.from_numpy(np.array(arrays["test_y"]))
    with torch.no_grad():
        right = sum(
            int((model(normalise(x)).argmax(dim=1) == y).sum()) for x, y in zip(images.split(1000), labels.split(1000), strict=True)
        )
    yield Baseline("cifar10, the trained ResNet-8, accuracy", 0.8224, right / len(labels))


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / np.float32(255)


BASELINES = (split_sets, whole_sets, trained_network)
