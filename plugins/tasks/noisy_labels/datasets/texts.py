"""Texts as TF-IDF, whose labels are made wrong; the streams are those of :mod:`plugins.tasks.noisy_labels.datasets.noise`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from harness import RawData, Run
from harness.data import load
from harness.training.parts import Split, check_sizes, random_split, tfidf_parts
from plugins.data.text.sarcasm import SARCASM
from plugins.data.text.storm_spam import SMS_SPAM, YOUTUBE_SPAM
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.tasks.noisy_labels.datasets.noise import NoiseSettings, Size, noisy_dataset
from plugins.tasks.noisy_labels.protocol import NoisyDataset

__all__ = ["Sarcasm", "SmsSpam", "WikiTopics", "YoutubeSpam"]


@dataclass
class WikiTopics(NoiseSettings):
    """
    The topic of an encyclopedia article from its lead section, as TF-IDF, split at random.

    Args:
        n_train: Training samples.
        n_valid: Validation samples.
        n_test: Test samples; 9,033 in all at most.
        n_features: Keep the terms that are most frequent in the training set.
    """

    n_classes: ClassVar[int] = 11
    raw: ClassVar[RawData] = WIKI_TOPICS
    n_published: ClassVar[int] = 9033

    n_train: Size = 4000
    n_valid: Size = 1000
    n_test: Size = 2000
    n_features: Size = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("n_train + n_valid + n_test", self.n_train + self.n_valid + self.n_test, self.n_published)

    def load(self, run: Run) -> NoisyDataset:
        """Split, vectorise and corrupt."""
        arrays = load(self.raw)
        split = random_split(run, len(arrays["y"]), self.n_train, self.n_valid, self.n_test)

        return noisy_dataset(self, tfidf_parts(arrays, split, self.n_features), run)


@dataclass
class SmsSpam(NoiseSettings):
    """
    Spam (class 1, 13 %) among text messages, as TF-IDF, in the split of the STORM paper, which no seed changes: 4,502, 500 and 500 messages.

    Args:
        n_features: Keep the terms that are most frequent in the training set; ``None`` keeps all 7,694, as the paper does.
    """

    n_classes: ClassVar[int] = 2
    raw: ClassVar[RawData] = SMS_SPAM

    validation: Literal["noisy", "clean"] = "clean"
    n_features: Size | None = None

    def load(self, run: Run) -> NoisyDataset:
        """Vectorise and corrupt."""
        arrays = load(self.raw)
        split = Split(*(np.flatnonzero(arrays["split"] == part) for part in range(3)))
        run.witness("split", np.concatenate(split))

        return noisy_dataset(self, tfidf_parts(arrays, split, self.n_features), run)


@dataclass
class YoutubeSpam(SmsSpam):
    """
    Spam (class 1, 51 %) among video comments, as TF-IDF, in the split of the STORM paper, which no seed changes: 1,586, 120 and 250 comments.

    Args:
        n_features: Keep the terms that are most frequent in the training set; ``None`` keeps all 3,916, as the paper does.
    """

    raw: ClassVar[RawData] = YOUTUBE_SPAM


@dataclass
class Sarcasm(WikiTopics):
    """Whether a news headline is sarcastic (class 1, 48 %), in all else as :class:`WikiTopics`; 28,614 in all."""

    n_classes: ClassVar[int] = 2
    raw: ClassVar[RawData] = SARCASM
    n_published: ClassVar[int] = 28_614
