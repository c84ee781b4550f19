"""The digits of scikit-learn, one by one and in pairs; the stream ``split`` divides them, ``pairs`` glues them together."""

from __future__ import annotations

from dataclasses import dataclass

from harness import Run
from harness.training.parts import Part
from plugins.data.images.digit_pairs import N_PAIR_CLASSES, digit_pairs
from plugins.data.images.sets import DIGITS, scaled_parts, shuffled_split
from plugins.tasks.semi_supervised.datasets.labels import LabelSettings, Size, semi_supervised_dataset
from plugins.tasks.semi_supervised.protocol import SemiSupervisedDataset
from plugins.tasks.semi_supervised.views import DigitViews

__all__ = ["DigitPairs", "Digits"]


@dataclass
class Digits(LabelSettings):
    """
    The digits, ``(1, 8, 8)`` in [0, 1], split at random.

    Args:
        n_train: Training samples, labelled or not.
        n_valid: Validation samples.
        n_test: Test samples; 1,797 in all at most.
    """

    n_train: Size = 1200
    n_valid: Size = 200
    n_test: Size = 397

    def __post_init__(self) -> None:
        DIGITS.check(self.n_train, self.n_valid, self.n_test)

    def load(self, run: Run) -> SemiSupervisedDataset:
        """Split, scale and hide labels."""
        return semi_supervised_dataset(self, self.parts(run), 10, DigitViews(), run)

    def parts(self, run: Run) -> list[Part]:
        """Return training, validation and test digits with their labels."""
        published = DIGITS.read()

        return scaled_parts(published, shuffled_split(published, self.n_train, self.n_valid, self.n_test, run), DIGITS.brightest)


@dataclass
class DigitPairs(Digits):
    """
    Two digits side by side, ``(1, 8, 16)``; the class is the number that they make, 0 to 99, each equally often. Pairs of two parts have no digit in common.

    Args:
        labels_per_class: As for the digits; 1 is hard.
        n_train_pairs: Training pairs, labelled or not, drawn from the ``n_train`` digits.
        n_valid_pairs: Validation pairs, from the ``n_valid`` digits.
        n_test_pairs: Test pairs, from the ``n_test`` digits.
    """

    labels_per_class: Size = 1
    n_train_pairs: Size = 6000
    n_valid_pairs: Size = 500
    n_test_pairs: Size = 2000

    def load(self, run: Run) -> SemiSupervisedDataset:
        """Split, scale, pair and hide labels."""
        rng = run.rng("pairs")
        sizes = (self.n_train_pairs, self.n_valid_pairs, self.n_test_pairs)
        pairs = [digit_pairs(part.x[:, 0], part.y, size, rng) for part, size in zip(self.parts(run), sizes, strict=True)]

        return semi_supervised_dataset(self, [Part(x[:, None], y) for x, y in pairs], N_PAIR_CLASSES, DigitViews(), run)
