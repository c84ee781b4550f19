"""What EfficientNet-Lite0 sees of CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le

from harness.artifacts import obtain
from harness.data import load
from harness.training.parts import Part
from plugins.data.images.cifar10 import CIFAR10
from plugins.models.efficientnet_lite0 import CIFAR10_FEATURES
from plugins.models.efficientnet_lite0.model import features, load_efficientnet_lite0, normalise

__all__ = ["N_TEST", "N_TRAIN", "Cifar10Features", "read_cifar10_features"]

N_TRAIN, N_TEST = 15_000, 5_000
BATCH = 50
FILES = ("train_x", "train_y", "test_x", "test_y")


@dataclass
class Cifar10Features:
    """
    The artifact ``cifar10_features``: features of the first pictures of each part of CIFAR-10, and their labels, one ``.npy`` file each.

    Args:
        size: Side in pixels that pictures are enlarged to: 4 ms a picture at 96 on one core, 6.6 at 128.
        n_train: Training pictures; a picture's position is that of its published and of its human labels.
        n_test: Test pictures.
    """

    size: Annotated[int, Ge(32), Le(224)] = 96
    n_train: Annotated[int, Ge(1), Le(50_000)] = N_TRAIN
    n_test: Annotated[int, Ge(1), Le(10_000)] = N_TEST

    def build(self, folder: Path) -> None:
        """Compute and write them: ``(N, 1280)`` float16, which holds three decimals of what a ReLU6 gives, and ``(N,)`` uint8."""
        model, arrays = load_efficientnet_lite0(), load(CIFAR10)
        for part, n in (("train", self.n_train), ("test", self.n_test)):
            pictures = torch.from_numpy(np.array(arrays[f"{part}_x"][:n]))
            seen = torch.cat([features(model, normalise(batch, self.size)) for batch in pictures.split(BATCH)])
            np.save(folder / f"{part}_x.npy", seen.numpy().astype(np.float16))
            np.save(folder / f"{part}_y.npy", arrays[f"{part}_y"][:n])


def read_cifar10_features() -> list[Part]:
    """
    Return training and test part, ``(15000, 1280)`` and ``(5000, 1280)`` float16 with labels in 0..9.

    Raises:
        DataError: They cannot be built.
    """
    folder = obtain(CIFAR10_FEATURES)
    arrays = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in FILES}

    return [Part(arrays[f"{part}_x"], arrays[f"{part}_y"]) for part in ("train", "test")]
