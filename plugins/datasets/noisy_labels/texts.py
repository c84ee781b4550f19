"""Data sets of texts beside those of :mod:`plugins.datasets.noisy_labels.datasets`, which stay in that module: a change there would make records stale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness import Run
from harness.data import load
from harness.tasks.noisy_labels import NoisyDataset

# The private functions of a sibling: a copy could drift, and a public home for them would change the key of each committed record.
from plugins.datasets.noisy_labels.datasets import NoiseSettings, Size, _check_sizes, _noisy_dataset, _random_split, _tfidf_parts
from plugins.datasets.text.sarcasm import SARCASM

__all__ = ["Sarcasm"]


@dataclass
class Sarcasm(NoiseSettings):
    """
    Whether a news headline is sarcastic (class 1, 48 %), as TF-IDF, split at random.

    Args:
        n_train: Training samples.
        n_valid: Validation samples.
        n_test: Test samples; 28,614 in all at most.
        n_features: Keep the terms that are most frequent in the training set.
    """

    n_classes: ClassVar[int] = 2

    n_train: Size = 4000
    n_valid: Size = 1000
    n_test: Size = 2000
    n_features: Size = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_sizes("n_train + n_valid + n_test", self.n_train + self.n_valid + self.n_test, 28_614)

    def load(self, run: Run) -> NoisyDataset:
        """Split, vectorise and corrupt."""
        arrays = load(SARCASM)
        split = _random_split(run, len(arrays["y"]), self.n_train, self.n_valid, self.n_test)

        return _noisy_dataset(self, _tfidf_parts(arrays, split, self.n_features), run)
