"""Which samples keep their labels: what all data sets of this task have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge

from harness import Run
from harness.training.classifier import labelled_set
from harness.training.parts import Part
from plugins.tasks.semi_supervised.protocol import SemiSupervisedDataset
from plugins.tasks.semi_supervised.views import Views

__all__ = ["LabelSettings", "Size", "draw_labelled", "semi_supervised_dataset"]

Size = Annotated[int, Ge(1)]


@dataclass
class LabelSettings:
    """
    What all data sets of this task have in common.

    Args:
        labels_per_class: Training samples of each class whose labels methods see; the labels of all others are hidden.
    """

    labels_per_class: Size = 4


def draw_labelled(y: np.ndarray, per_class: int, n_classes: int, rng: np.random.Generator) -> np.ndarray:
    """
    Draw as many samples of each class.

    Args:
        y: ``(N,)``, labels.
        per_class: Of each class.
        n_classes: Number of classes C.
        rng: Decides which.

    Returns:
        ``(C * per_class,)`` int64, positions in ``y``, class by class.

    Raises:
        ValueError: A class has fewer.
    """
    counts = np.bincount(y, minlength=n_classes)
    if counts.min() < per_class:
        scarce = int(counts.argmin())
        raise ValueError(
            f"labels_per_class is {per_class}, class {scarce} has {counts[scarce]} training samples; ask for fewer labels or draw more samples"
        )

    return np.concatenate([rng.permutation(np.flatnonzero(y == c))[:per_class] for c in range(n_classes)])


def semi_supervised_dataset(settings: LabelSettings, parts: list[Part], n_classes: int, views: Views, run: Run) -> SemiSupervisedDataset:
    """
    Choose the labelled samples by the stream ``labels`` and build the container of the task.

    Args:
        settings: How many labels.
        parts: Training, validation and test set.
        n_classes: Number of classes.
        views: The changes that the classes survive.
        run: The trial.
    """
    train, valid, test = parts
    labelled = draw_labelled(train.y, settings.labels_per_class, n_classes, run.rng("labels"))
    run.witness("split", labelled)

    return SemiSupervisedDataset(
        labelled=labelled_set(train.x[labelled], train.y[labelled]),
        unlabelled_x=torch.from_numpy(np.ascontiguousarray(train.x)),
        unlabelled_y=torch.from_numpy(train.y.astype(np.int64)),
        valid=labelled_set(*valid),
        test=labelled_set(*test),
        n_classes=n_classes,
        views=views,
    )
