"""Labelled pictures in three parts: the container of the tasks that train a classifier of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.training.classifier import LabelledSet
from harness.training.fitting import Trained, predict_logits

__all__ = ["ImageData", "checked_logits"]


@dataclass(frozen=True)
class ImageData:
    """
    All that a data set gives, the test labels included; only the task and its metrics see this.

    Args:
        train: The training set with its labels as they are trained on.
        valid: The validation set.
        test: The test set.
        n_classes: Number of classes C.

    Raises:
        ValueError: A part is empty, or a label is not in ``0 .. C-1``.
    """

    train: LabelledSet
    valid: LabelledSet
    test: LabelledSet
    n_classes: int

    def __post_init__(self) -> None:
        for name in ("train", "valid", "test"):
            part: LabelledSet = getattr(self, name)
            if len(part) == 0:
                raise ValueError(f"the part '{name}' has no samples")
            if int(part.y.min()) < 0 or int(part.y.max()) >= self.n_classes:
                raise ValueError(
                    f"labels of the part '{name}' lie in {int(part.y.min())}..{int(part.y.max())}, not in 0..{self.n_classes - 1}"
                )


def checked_logits(trained: Trained, data: ImageData) -> np.ndarray:
    """
    Predict the test set: ``(n_test, C)`` float32.

    Raises:
        ValueError: The network gives another number of classes.
    """
    logits = predict_logits(trained.network, data.test.x.clone()).numpy()
    expected = (len(data.test), data.n_classes)
    if logits.shape != expected:
        raise ValueError(f"the network gives logits of shape {logits.shape}, expected {expected}")

    return logits
