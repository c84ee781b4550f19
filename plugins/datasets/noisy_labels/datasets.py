"""
The data sets: which samples train, validate and test, how they become inputs, and which labels are made wrong.

Three streams decide all of it: ``split`` the samples, ``noise`` the training labels, ``noise/validation`` the validation labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Lt

from harness import RawData, Run
from harness.data import load
from harness.tasks.noisy_labels import NoisyDataset
from harness.training.classifier import LabelledSet
from harness.training.label_noise import NoiseKind, check_noise, corrupt, draw_projections
from harness.training.parts import Part, Split, check_sizes, random_split, tfidf_parts
from plugins.data.images.digits import DIGITS
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.images.mnist import MNIST
from plugins.data.text.storm_spam import SMS_SPAM, YOUTUBE_SPAM
from plugins.data.text.wiki_topics import WIKI_TOPICS

__all__ = ["Digits", "FashionMnist", "Mnist", "NoiseSettings", "SmsSpam", "WikiTopics", "YoutubeSpam"]

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


@dataclass
class Digits(NoiseSettings):
    """
    The digits of scikit-learn, ``(1, 8, 8)`` in [0, 1], split at random.

    Args:
        n_train: Training samples.
        n_valid: Validation samples.
        n_test: Test samples; 1,797 in all at most.
    """

    n_classes: ClassVar[int] = 10

    n_train: Size = 1200
    n_valid: Size = 200
    n_test: Size = 397

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("n_train + n_valid + n_test", self.n_train + self.n_valid + self.n_test, 1797)

    def load(self, run: Run) -> NoisyDataset:
        """Split, scale and corrupt."""
        arrays = load(DIGITS)
        split = random_split(run, len(arrays["y"]), self.n_train, self.n_valid, self.n_test)
        x = (arrays["x"] / np.float32(16))[:, None]

        return noisy_dataset(self, [Part(x[rows], arrays["y"][rows]) for rows in split], run)


@dataclass
class FashionMnist(NoiseSettings):
    """
    Fashion-MNIST, ``(1, 28, 28)`` in [0, 1]: training and validation set from its training set, test set from its test set, at random.

    Args:
        n_train: Training samples.
        n_valid: Validation samples; 60,000 with the training samples at most.
        n_test: Test samples, 10,000 at most.
    """

    n_classes: ClassVar[int] = 10
    raw: ClassVar[RawData] = FASHION_MNIST

    n_train: Size = 4000
    n_valid: Size = 1000
    n_test: Size = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes("n_train + n_valid", self.n_train + self.n_valid, 60_000)
        check_sizes("n_test", self.n_test, 10_000)

    def load(self, run: Run) -> NoisyDataset:
        """Split, scale and corrupt."""
        arrays = load(self.raw)
        rng = run.rng("split")
        fitted = rng.permutation(len(arrays["train_y"]))[: self.n_train + self.n_valid]
        split = Split(fitted[: self.n_train], fitted[self.n_train :], rng.permutation(len(arrays["test_y"]))[: self.n_test])
        run.witness("split", np.concatenate(split))
        parts = [
            Part((arrays[f"{source}_x"][rows] / np.float32(255))[:, None], arrays[f"{source}_y"][rows])
            for source, rows in zip(("train", "train", "test"), split, strict=True)
        ]

        return noisy_dataset(self, parts, run)


@dataclass
class Mnist(FashionMnist):
    """MNIST, in all else as :class:`FashionMnist`."""

    raw: ClassVar[RawData] = MNIST


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
        train=_labelled(train.x, noisy(train, "noise")),
        train_clean_y=label_tensor(train.y),
        valid=_labelled(valid.x, noisy(valid, "noise/validation") if settings.validation == "noisy" else valid.y),
        valid_clean_y=label_tensor(valid.y),
        test=_labelled(test.x, test.y),
        n_classes=settings.n_classes,
        # "uniform" draws the right class too, so fewer labels are wrong than its rate says
        noise_rate=settings.rate * (1 - 1 / settings.n_classes) if settings.noise == "uniform" else settings.rate,
    )


def _labelled(x: np.ndarray, y: np.ndarray) -> LabelledSet:
    return LabelledSet(torch.from_numpy(np.ascontiguousarray(x)), label_tensor(y))


def label_tensor(y: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(y.astype(np.int64))
