"""The container of this task: clean pictures as bytes, and the law and the seed by which any of them are corrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from harness.streams import derive_seed
from harness.training.classifier import LabelledSet
from harness.training.parts import Part

__all__ = ["Corrupt", "CorruptionData", "as_pictures", "as_samples"]

WHITE = 255

Corrupt = Callable[[np.ndarray, str, int, np.random.Generator], np.ndarray]
"""Maps pictures as bytes, the name of a corruption, its severity and a generator to as many pictures."""


def as_samples(pictures: np.ndarray) -> Tensor:
    """Bring ``(N, height, width)`` or ``(N, height, width, 3)`` uint8 to ``(N, channels, height, width)`` float32 in [0, 1]."""
    channels_first = pictures[:, None] if pictures.ndim == 3 else pictures.transpose(0, 3, 1, 2)

    return torch.from_numpy(np.ascontiguousarray(channels_first)).float() / WHITE


def as_pictures(samples: Tensor) -> np.ndarray:
    """Turn :func:`as_samples` back: ``(N, height, width, channels)`` uint8."""
    return (samples * WHITE).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


@dataclass(frozen=True)
class CorruptionData:
    """
    All that a data set gives, the test labels included; only the task and its metrics see this.

    Args:
        source: What a network is pretrained on, pictures as of ``train`` and labels of its own; ``None`` where ``network`` is given.
        train: The training set, ``(N, height, width)`` or ``(N, height, width, 3)`` uint8.
        valid: The validation set.
        test: The test set.
        n_classes: Number of classes C.
        corruptions: Names, each of which ``corrupt`` knows.
        severity: Of the corrupted training pictures, and of the test, 1 to 5.
        corrupt: The law.
        seed: Decides its draws, which are the same for all methods.
        network: A pretrained network with a head for the C classes, whose inputs are :func:`as_samples`.

    Raises:
        ValueError: A part is empty, a label is not in ``0 .. C-1``, a corruption is named twice or none is, a severity is not one of 1 to 5, or there is
            not either of ``source`` and ``network``.
    """

    source: Part | None
    train: Part
    valid: Part
    test: Part
    n_classes: int
    corruptions: tuple[str, ...]
    severity: int
    corrupt: Corrupt
    seed: int
    network: nn.Module | None = None

    def __post_init__(self) -> None:
        if (self.source is None) == (self.network is None):
            raise ValueError("a data set gives either pictures for pretraining, 'source', or a pretrained 'network'")
        if len(set(self.corruptions)) != len(self.corruptions) or not self.corruptions:
            raise ValueError(f"corruptions are {list(self.corruptions)}; name one at least, and each once")
        if self.severity not in range(1, 6):
            raise ValueError(f"severity is {self.severity}, it must be 1, 2, 3, 4 or 5")
        for name in ("train", "valid", "test"):
            part: Part = getattr(self, name)
            if len(part.y) == 0:
                raise ValueError(f"the part '{name}' has no samples")
            if int(part.y.min()) < 0 or int(part.y.max()) >= self.n_classes:
                raise ValueError(
                    f"labels of the part '{name}' lie in {int(part.y.min())}..{int(part.y.max())}, not in 0..{self.n_classes - 1}"
                )

    def clean(self, name: Literal["train", "valid", "test"]) -> LabelledSet:
        """Return a part as networks take it."""
        part: Part = getattr(self, name)

        return _labelled(part.x, part.y)

    def corrupted(self, name: Literal["train", "valid", "test"], corruption: str, severity: int | None = None) -> LabelledSet:
        """
        Return a part, corrupted as it is for all methods, and as networks take it.

        Args:
            name: Which.
            corruption: One that ``corrupt`` knows.
            severity: 1 to 5; that of the data set by default.

        Raises:
            ValueError: There is no such corruption or severity.
        """
        part: Part = getattr(self, name)
        chosen = self.severity if severity is None else severity
        rng = np.random.default_rng(derive_seed(self.seed, f"{name} {corruption} {chosen}"))

        return _labelled(self.corrupt(part.x, corruption, chosen, rng), part.y)


def _labelled(pictures: np.ndarray, y: np.ndarray) -> LabelledSet:
    return LabelledSet(as_samples(pictures), torch.from_numpy(y.astype(np.int64)))
