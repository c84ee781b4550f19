"""Parts of a data set: which samples train, validate and test, and texts as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.data import unpack_texts

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["Part", "Split", "check_sizes", "random_split", "standardised_parts", "tfidf_parts"]


class Part(NamedTuple):
    """
    Inputs and true labels of the training, validation or test set.

    Args:
        x: ``(N, ...)`` float32.
        y: ``(N,)``, any integer type.
    """

    x: np.ndarray
    y: np.ndarray


class Split(NamedTuple):
    """Positions of the samples of each part, int64; each part counts in the array that it comes from."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def check_sizes(names: str, wanted: int, available: int) -> None:
    """Refuse a split that needs more samples than there are."""
    if wanted > available:
        raise ValueError(f"{names} is {wanted:,}, there are {available:,} samples")


def random_split(run: Run, n: int, n_train: int, n_valid: int, n_test: int) -> Split:
    """Draw disjoint parts of ``0 .. n-1`` by the stream ``split``, and witness them."""
    order = run.rng("split").permutation(n)[: n_train + n_valid + n_test]
    run.witness("split", order)

    return Split(order[:n_train], order[n_train : n_train + n_valid], order[n_train + n_valid :])


def standardised_parts(published: Sequence[Part], split: Split) -> list[Part]:
    """
    Return training, validation and test set, ``(N, d)`` float32, each feature with mean 0 and standard deviation 1 over the training set; a constant one is 0.

    Args:
        published: ``(N, d)`` each; training and validation samples stand in the first part, test samples in the last.
        split: Where.
    """
    import torch

    sources = (published[0], published[0], published[-1])
    # torch widens half precision in a sixth of numpy's time
    parts = [Part(torch.from_numpy(source.x[rows]).float().numpy(), source.y[rows]) for source, rows in zip(sources, split, strict=True)]
    mean, scale = parts[0].x.mean(axis=0), parts[0].x.std(axis=0)
    scale[scale == 0] = 1.0
    for part in parts:
        np.subtract(part.x, mean, out=part.x)
        np.divide(part.x, scale, out=part.x)

    return parts


def tfidf_parts(arrays: dict[str, np.ndarray], split: Split, n_features: int | None) -> list[Part]:
    """
    Vectorise packed texts with the defaults of scikit-learn; vocabulary and document frequencies come from the training texts alone.

    The defaults are what the STORM paper used: they give its numbers of features on both of its sets.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = unpack_texts(arrays["text"], arrays["offsets"])
    vectorizer = TfidfVectorizer(max_features=n_features, dtype=np.float32)
    train, *others = ([texts[row] for row in rows] for rows in split)
    matrices = [vectorizer.fit_transform(train), *(vectorizer.transform(part) for part in others)]

    return [Part(matrix.toarray(), arrays["y"][rows]) for matrix, rows in zip(matrices, split, strict=True)]
