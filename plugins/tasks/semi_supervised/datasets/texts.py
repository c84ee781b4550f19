"""Texts of which few have a label."""

from __future__ import annotations

from dataclasses import dataclass

from harness import Run
from harness.data import load
from harness.training.parts import check_sizes, random_split, tfidf_parts
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.tasks.semi_supervised.datasets.labels import LabelSettings, Size, semi_supervised_dataset
from plugins.tasks.semi_supervised.protocol import SemiSupervisedDataset
from plugins.tasks.semi_supervised.views import FeatureViews

__all__ = ["WikiTopics"]

N_PUBLISHED = 9033


@dataclass
class WikiTopics(LabelSettings):
    """
    The topic of an encyclopedia article from its lead section, as TF-IDF, split at random; a view leaves out words.

    Args:
        labels_per_class: As for pictures; 10 is customary for texts.
        n_train: Training samples, labelled or not.
        n_valid: Validation samples.
        n_test: Test samples; 9,033 in all at most.
        n_features: Keep the terms that are most frequent in the training set, whose texts are known without their labels.
    """

    labels_per_class: Size = 10
    n_train: Size = 4000
    n_valid: Size = 500
    n_test: Size = 2000
    n_features: Size = 2000

    def __post_init__(self) -> None:
        check_sizes("n_train + n_valid + n_test", self.n_train + self.n_valid + self.n_test, N_PUBLISHED)

    def load(self, run: Run) -> SemiSupervisedDataset:
        """Split, vectorise and hide labels."""
        arrays = load(WIKI_TOPICS)
        split = random_split(run, len(arrays["y"]), self.n_train, self.n_valid, self.n_test)

        return semi_supervised_dataset(self, tfidf_parts(arrays, split, self.n_features), 11, FeatureViews(), run)
