"""The data sets of ``class_incremental`` that no other task shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from harness.training.parts import Part
from plugins.tasks.class_incremental.datasets import texts
from plugins.tasks.class_incremental.datasets.features import Cifar10Features
from plugins.tasks.class_incremental.datasets.pictures import Cifar10, FashionMnist, reduced
from plugins.tasks.class_incremental.datasets.sets import PictureSets
from plugins.tasks.class_incremental.datasets.texts import WikiTopics, WikiTopicsFeatures


def load(dataset, seed=0):
    return dataset.load(Run(seed, Budget()))


def test_a_reduced_picture_is_the_mean_of_squares():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    part = LabelledSet(x, torch.zeros(1, dtype=torch.int64))

    small = reduced(ImageData(part, part, part, 1), 2)

    assert small.test.x.tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert torch.equal(reduced(ImageData(part, part, part, 1), 1).train.x, x)


@pytest.mark.data
def test_pictures_are_reduced():
    data = load(Cifar10(n_train=20, n_valid=10, n_test=10, reduction=2))
    grey = load(FashionMnist(n_train=20, n_valid=10, n_test=10, reduction=2))

    assert data.train.x.shape == (20, 3, 16, 16)
    assert grey.train.x.shape == (20, 1, 14, 14)


@pytest.mark.data
def test_features_are_as_the_network_gives_them():
    data = load(Cifar10Features(n_train=50, n_valid=20, n_test=30))

    assert data.train.x.shape == (50, 1280)
    assert data.train.x.dtype == torch.float32
    assert 0 <= float(data.train.x.min()) < float(data.train.x.max()) <= 6


@pytest.mark.data
def test_topics_come_as_words():
    data = load(WikiTopics(n_train=300, n_valid=50, n_test=50, n_features=200))

    assert data.train.x.shape == (300, 200)
    assert data.n_classes == 11


def test_what_an_encoder_says_is_scaled_and_keeps_its_topics(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(9033, 4)).astype(np.float32)
    rows[:, 0] = np.arange(9033) % 11  # the topic stands in the features
    monkeypatch.setattr(texts, "read_wiki_topics_features", lambda: Part(rows, (np.arange(9033) % 11).astype(np.uint8)))

    data = load(WikiTopicsFeatures(n_train=300, n_valid=50, n_test=50))

    assert [len(part) for part in (data.train, data.valid, data.test)] == [300, 50, 50]
    for part in (data.train, data.valid, data.test):
        torch.testing.assert_close(part.x[:, 0], 2.0 * part.y)


@pytest.mark.data
def test_picture_sets_come_one_after_the_other():
    data = load(PictureSets(n_train=60, n_valid=10, n_test=12))

    assert data.train.x.shape == (240, 1, 28, 28)
    assert data.n_classes == 40
    assert data.groups == tuple(tuple(range(low, low + 10)) for low in (0, 10, 20, 30))
    assert np.bincount(data.test.y.numpy() // 10).tolist() == [12] * 4
    assert not torch.equal(data.train.x, load(PictureSets(n_train=60, n_valid=10, n_test=12), seed=1).train.x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cifar10Features(n_train=15_000), r"n_train \+ n_valid is 16,000"),
        (lambda: WikiTopicsFeatures(n_train=9000), r"n_train \+ n_valid \+ n_test is 12,000"),
        (lambda: WikiTopics(n_train=9000), r"n_train \+ n_valid \+ n_test is 12,000"),
        (lambda: PictureSets(n_train=9000), r"n_train \+ n_valid \+ n_test is 10,400"),
    ],
)
def test_more_samples_than_there_are_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
