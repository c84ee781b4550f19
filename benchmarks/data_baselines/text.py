"""Bags of words on the public texts: TF-IDF with logistic regression, and as a search engine. The settings are scikit-learn's defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from benchmarks.data_baselines.baseline import Baseline
from harness import RawData
from harness.data import load, unpack_texts
from plugins.data.text.brown import BROWN
from plugins.data.text.sarcasm import SARCASM
from plugins.data.text.spam_assassin import SPAM_ASSASSIN
from plugins.data.text.wiki_retrieval import WIKI_RETRIEVAL
from plugins.data.text.wiki_topics import WIKI_TOPICS

SEED = 0
TEST_SHARE = 0.2
MAX_ITER = 1000  # of the solver; more than its default of 100, with which the larger problems have not converged
PIECE_WORDS = 200


def sarcasm() -> Iterator[Baseline]:
    yield Baseline("sarcasm, accuracy", 0.848, _accuracy(SARCASM))


def wiki_topics() -> Iterator[Baseline]:
    yield Baseline("wiki_topics, accuracy", 0.901, _accuracy(WIKI_TOPICS))


def spam_assassin() -> Iterator[Baseline]:
    yield Baseline("spam_assassin, accuracy", 0.987, _accuracy(SPAM_ASSASSIN))


def brown_pieces() -> Iterator[Baseline]:
    """Tell the genre of pieces of 200 words; the pieces of a document are all in the training set or all in the test set."""
    arrays = load(BROWN)
    pieces, labels, documents = [], [], []
    for number, (text, label) in enumerate(zip(unpack_texts(arrays["text"], arrays["offsets"]), arrays["y"], strict=True)):
        words = text.split()
        for start in range(0, len(words) - PIECE_WORDS + 1, PIECE_WORDS):
            pieces.append(" ".join(words[start : start + PIECE_WORDS]))
            labels.append(label)
            documents.append(number)
    train, test = next(GroupShuffleSplit(n_splits=1, test_size=TEST_SHARE, random_state=SEED).split(pieces, groups=documents))

    yield Baseline("brown, pieces of 200 words, accuracy", 0.463, _fitted_accuracy(pieces, np.array(labels), train, test))


def retrieval_reciprocal_rank() -> Iterator[Baseline]:
    ranks = _ranks()

    yield Baseline("wiki_retrieval, mean reciprocal rank at 10", 0.347, float(np.where(ranks <= 10, 1 / ranks, 0).mean()))


def retrieval_recall_at_1() -> Iterator[Baseline]:
    yield Baseline("wiki_retrieval, recall at 1", 0.261, float((_ranks() <= 1).mean()))


def retrieval_recall_at_100() -> Iterator[Baseline]:
    yield Baseline("wiki_retrieval, recall at 100", 0.755, float((_ranks() <= 100).mean()))


BASELINES: tuple[Callable[[], Iterator[Baseline]], ...] = (
    sarcasm,
    wiki_topics,
    spam_assassin,
    brown_pieces,
    retrieval_reciprocal_rank,
    retrieval_recall_at_1,
    retrieval_recall_at_100,
)


def _accuracy(raw: RawData) -> float:
    """Split 80/20 at random."""
    arrays = load(raw)
    texts = unpack_texts(arrays["text"], arrays["offsets"])
    train, test = train_test_split(np.arange(len(texts)), test_size=TEST_SHARE, random_state=SEED)

    return _fitted_accuracy(texts, arrays["y"], train, test)


def _fitted_accuracy(texts: Sequence[str], labels: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Fit logistic regression on TF-IDF."""
    vectorizer = TfidfVectorizer()
    x = vectorizer.fit_transform([texts[row] for row in train])
    classifier = LogisticRegression(max_iter=MAX_ITER, random_state=SEED).fit(x, labels[train])

    return float(classifier.score(vectorizer.transform([texts[row] for row in test]), labels[test]))


def _ranks() -> np.ndarray:
    """Return the rank, from 1, of the relevant document of each query, by cosine of TF-IDF; ties count against it."""
    arrays = load(WIKI_RETRIEVAL)
    vectorizer = TfidfVectorizer()
    documents = vectorizer.fit_transform(unpack_texts(arrays["text"], arrays["offsets"]))
    queries = vectorizer.transform(unpack_texts(arrays["query"], arrays["query_offsets"]))
    scores = (queries @ documents.T).toarray()
    relevant = np.take_along_axis(scores, arrays["relevant"][:, None], axis=1)

    return (scores >= relevant).sum(axis=1)
