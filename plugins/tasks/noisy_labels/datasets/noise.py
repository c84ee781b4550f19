"""
What all data sets of this task have in common: which labels are made wrong.

Three streams decide all of it: ``split`` the samples, ``noise`` the training labels, ``noise/validation`` the validation labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Lt

from harness import Run
from harness.training.classifier import labelled_set
from harness.training.label_noise import NoiseKind, check_noise, corrupt, draw_projections
from harness.training.parts import Part
from plugins.tasks.noisy_labels.protocol import NoisyDataset

__all__ = ["NoiseSettings", "Size", "label_tensor", "noisy_dataset"]

Size = Annotated[int, Ge(1)]


@dataclass
class NoiseSettings:
    """
    What all data sets of this task have in common.

    Args:
        noise: The law of the wrong labels (see :mod:`harness.training.label_noise`); ``binary`` for two classes alone.
        rate: Its rate, in [0, 1); below 0.5 for ``pair_flip``.
        validation: Whether the validation labels are corrupted as the training labels are, or clean.
    """

    n_classes: ClassVar[int]

    noise: NoiseKind = "none"
    rate: Annotated[float, Ge(0), Lt(1)] = 0.0
    validation: Literal["noisy", "clean"] = "noisy"

    def __post_init__(self) -> None:
        check_noise(self.noise, self.rate, self.n_classes)


def noisy_dataset(settings: NoiseSettings, parts: list[Part], run: Run) -> NoisyDataset:
    """Corrupt the labels of training and validation set and build the container of the task."""
    train, valid, test = parts
    n_inputs = train.x[0].size
    W = None
    if settings.noise == "instance_dependent":
        W = draw_projections(settings.n_classes, n_inputs, run.rng("noise/projections"))

    def noisy(part: Part, stream: str) -> np.ndarray:
        return corrupt(part.y, settings.noise, settings.rate, settings.n_classes, run.rng(stream), part.x.reshape(len(part.y), n_inputs), W)

    return NoisyDataset(
        train=labelled_set(train.x, noisy(train, "noise")),
        train_clean_y=label_tensor(train.y),
        valid=labelled_set(valid.x, noisy(valid, "noise/validation") if settings.validation == "noisy" else valid.y),
        valid_clean_y=label_tensor(valid.y),
        test=labelled_set(test.x, test.y),
        n_classes=settings.n_classes,
        # "uniform" draws the right class too, so fewer labels are wrong than its rate says
        noise_rate=settings.rate * (1 - 1 / settings.n_classes) if settings.noise == "uniform" else settings.rate,
    )


def label_tensor(y: np.ndarray) -> torch.Tensor:
    """Return labels as int64."""
    return torch.from_numpy(y.astype(np.int64))
