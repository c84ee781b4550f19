"""Texts by their words, and by what a pretrained encoder says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness import Run
from harness.data import load
from harness.training.classifier import labelled_set
from harness.training.image_data import ImageData
from harness.training.parts import check_sizes, random_split, tfidf_parts
from plugins.data.images.pictures import Size
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.models.minilm.wiki_topics_features import read_wiki_topics_features

__all__ = ["WikiTopics", "WikiTopicsFeatures"]

N_PUBLISHED, N_TOPICS = 9033, 11


@dataclass
class WikiTopics:
    """
    The topic of an encyclopedia article from its lead section, as TF-IDF, split at random. Terms and their frequencies are those of all training texts.

    Args:
        n_train: Training samples.
        n_valid: Validation samples.
        n_test: Test samples; 9,033 in all at most.
        n_features: Keep the terms that are most frequent in the training set.
    """

    n_train: Size = 5000
    n_valid: Size = 1000
    n_test: Size = 2000
    n_features: Size = 2000

    def __post_init__(self) -> None:
        check_sizes("n_train + n_valid + n_test", self.n_train + self.n_valid + self.n_test, N_PUBLISHED)

    def load(self, run: Run) -> ImageData:
        """Split and vectorise."""
        arrays = load(WIKI_TOPICS)
        split = random_split(run, len(arrays["y"]), self.n_train, self.n_valid, self.n_test)
        train, valid, test = (labelled_set(part.x, part.y) for part in tfidf_parts(arrays, split, self.n_features))

        return ImageData(train, valid, test, N_TOPICS)


@dataclass
class WikiTopicsFeatures:
    """
    What MiniLM says of the lead sections of encyclopedia articles, ``(384,)``, split at random; rows of length sqrt(384), so that features are of size one.

    Args:
        n_train: Training samples.
        n_valid: Validation samples.
        n_test: Test samples; 9,033 in all at most.
    """

    n_train: Size = 5000
    n_valid: Size = 1000
    n_test: Size = 2000

    def __post_init__(self) -> None:
        check_sizes("n_train + n_valid + n_test", self.n_train + self.n_valid + self.n_test, N_PUBLISHED)

    def load(self, run: Run) -> ImageData:
        """Split and scale."""
        whole = read_wiki_topics_features()
        split = random_split(run, N_PUBLISHED, self.n_train, self.n_valid, self.n_test)
        scale = np.sqrt(np.float32(whole.x.shape[1]))
        train, valid, test = (labelled_set(scale * whole.x[rows], whole.y[rows]) for rows in split)

        return ImageData(train, valid, test, N_TOPICS)
