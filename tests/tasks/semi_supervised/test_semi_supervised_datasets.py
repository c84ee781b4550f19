"""The data sets of ``semi_supervised``: which samples keep their labels, what parts have in common, and files that the user supplies."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
import torch
from scipy.io import savemat

from harness import Budget, DataError, Run
from harness.data import fetch
from harness.training.parts import Part
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.fashion_mnist import FASHION_MNIST
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.tasks.semi_supervised.datasets import features
from plugins.tasks.semi_supervised.datasets.digits import DigitPairs, Digits
from plugins.tasks.semi_supervised.datasets.labels import draw_labelled
from plugins.tasks.semi_supervised.datasets.pictures import Cifar10, FashionMnist
from plugins.tasks.semi_supervised.datasets.supplied import Cifar100, Stl10, Svhn
from plugins.tasks.semi_supervised.datasets.texts import WikiTopics
from plugins.tasks.semi_supervised.views import DigitViews, FeatureViews, PictureViews


def load(dataset, seed=0):
    return dataset.load(Run(seed, Budget()))


def rows(x):
    return {row.numpy().tobytes() for row in x}


# Which samples keep their labels


def test_each_class_keeps_as_many_labels():
    y = np.random.default_rng(0).integers(0, 5, 200)

    drawn = draw_labelled(y, 3, 5, np.random.default_rng(1))

    assert np.bincount(y[drawn]).tolist() == [3] * 5
    assert len(set(drawn.tolist())) == 15


def test_more_labels_than_a_class_has_are_refused_with_the_class():
    with pytest.raises(
        ValueError, match="labels_per_class is 3, class 1 has 2 training samples; ask for fewer labels or draw more samples"
    ):
        draw_labelled(np.array([0, 0, 0, 1, 1, 2, 2, 2]), 3, 3, np.random.default_rng(0))


def test_other_seeds_label_other_samples():
    first, second = (load(Digits(), seed) for seed in (0, 1))

    assert not torch.equal(first.labelled.x, second.labelled.x)


# Digits


@pytest.fixture(scope="module")
def digits():
    return load(Digits())


@pytest.fixture(scope="module")
def pairs():
    return load(DigitPairs())


def test_the_digits_are_split_and_few_are_labelled(digits):
    assert (digits.labelled.x.shape, digits.unlabelled_x.shape) == ((40, 1, 8, 8), (1200, 1, 8, 8))
    assert (len(digits.valid), len(digits.test)) == (200, 397)
    assert digits.labelled.y.bincount().tolist() == [4] * 10
    assert 0 <= digits.unlabelled_x.min() < digits.unlabelled_x.max() == 1
    assert isinstance(digits.views, DigitViews)


def test_the_labelled_samples_are_among_the_unlabelled_ones_with_the_same_labels(digits):
    for x, y in zip(digits.labelled.x, digits.labelled.y, strict=True):
        found = (digits.unlabelled_x == x).flatten(1).all(dim=1)
        assert y in digits.unlabelled_y[found]


def test_more_digits_than_there_are_cannot_be_asked_for():
    with pytest.raises(ValueError, match=r"n_train \+ n_valid \+ n_test is 1,997, there are 1,797 samples"):
        Digits(n_train=1400)


def test_a_pair_is_two_digits_and_its_class_their_number(pairs, digits):
    left, right = pairs.unlabelled_x[..., :8], pairs.unlabelled_x[..., 8:]
    known = {x.numpy().tobytes(): int(y) for x, y in zip(digits.unlabelled_x, digits.unlabelled_y, strict=True)}

    for a, b, y in zip(left, right, pairs.unlabelled_y.tolist(), strict=True):
        assert y == 10 * known[a.numpy().tobytes()] + known[b.numpy().tobytes()]


def test_pairs_of_two_parts_have_no_digit_in_common(pairs):
    parts = [rows(torch.cat((x[..., :8], x[..., 8:]))) for x in (pairs.unlabelled_x, pairs.valid.x, pairs.test.x)]

    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_every_pair_of_digits_has_one_label(pairs):
    assert (len(pairs.unlabelled_x), len(pairs.valid), len(pairs.test)) == (6000, 500, 2000)
    assert sorted(pairs.labelled.y.tolist()) == list(range(100))


def test_too_few_pairs_for_a_label_a_class_are_refused():
    with pytest.raises(ValueError, match=r"labels_per_class is 1, class \d+ has 0 training samples"):
        load(DigitPairs(n_train_pairs=80))


# Pictures and texts


@pytest.mark.data
@pytest.mark.parametrize(("dataset", "raw", "shape"), [(FashionMnist(), FASHION_MNIST, (1, 28, 28)), (Cifar10(), CIFAR10, (3, 32, 32))])
def test_pictures_have_the_class_shares_of_the_whole(dataset, raw, shape):
    fetch(raw)

    data = load(dataset)

    assert data.unlabelled_x.shape == (4000, *shape)
    assert data.unlabelled_y.bincount().tolist() == [400] * 10
    assert data.labelled.y.bincount().tolist() == [4] * 10
    assert isinstance(data.views, PictureViews)
    assert not rows(data.test.x) & rows(data.valid.x)


@pytest.mark.data
def test_texts_are_vectors_of_length_one_whose_views_leave_words_out():
    fetch(WIKI_TOPICS)

    data = load(WikiTopics(n_train=500, n_valid=100, n_test=100, n_features=300))

    assert data.unlabelled_x.shape == (500, 300)
    assert len(data.labelled) == 110
    assert isinstance(data.views, FeatureViews)
    strong = data.views.strong(data.unlabelled_x, torch.Generator().manual_seed(0))
    assert (strong > 0).sum() < 0.6 * (data.unlabelled_x > 0).sum()


def test_features_are_standardised_and_their_views_leave_some_out(monkeypatch):
    rng = np.random.default_rng(0)
    published = [Part(rng.normal(3, 2, (n, 40)).astype(np.float16), np.arange(n) % 10) for n in (400, 100)]
    monkeypatch.setattr(features, "read_cifar10_features", lambda: published)

    data = load(features.Cifar10Features(labels_per_class=2, n_train=300, n_valid=50, n_test=60))

    assert data.labelled.y.bincount().tolist() == [2] * 10
    assert data.unlabelled_y.bincount().tolist() == [30] * 10
    torch.testing.assert_close(data.unlabelled_x.mean(dim=0), torch.zeros(40), atol=1e-5, rtol=0)
    strong = data.views.strong(data.unlabelled_x, torch.Generator().manual_seed(0))
    assert (strong == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(strong.norm(dim=1), data.unlabelled_x.norm(dim=1))


def test_more_pictures_than_there_are_cannot_be_asked_for():
    with pytest.raises(ValueError, match=r"n_train \+ n_valid is 60,001, there are 60,000 samples"):
        FashionMnist(n_train=59_501)


# Files that the user supplies


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path))

    def folder(name):
        path = tmp_path / "files" / name
        path.mkdir(parents=True)
        return path

    return folder


SETTINGS = {"n_train": 200, "n_valid": 20, "n_test": 30, "labels_per_class": 1}


@pytest.mark.parametrize(("dataset", "name"), [(Svhn, "svhn"), (Stl10, "stl10")])
def test_missing_files_are_named_with_where_to_get_them(home, dataset, name):
    with pytest.raises(DataError, match=rf"data set '{name}' needs .* in .*files/{name}; get the files from http.* and put them there"):
        load(dataset())


def test_cifar100_is_read_with_its_fine_labels(home, monkeypatch):
    monkeypatch.setattr("plugins.data.images.cifar100.SIZES", {"train": 600, "test": 300})
    folder, rng = home("cifar100"), np.random.default_rng(0)
    batches = {
        name: {b"data": rng.integers(0, 256, (size, 3072), dtype=np.uint8), b"fine_labels": [i % 100 for i in range(size)]}
        for name, size in (("train", 600), ("test", 300))
    }
    for name, batch in batches.items():
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))

    data = load(Cifar100(**SETTINGS | {"n_test": 100}))

    train = batches["train"]
    planes = {row.reshape(3, 32, 32).tobytes(): y for row, y in zip(train[b"data"], train[b"fine_labels"], strict=True)}
    assert data.n_classes == 100
    for x, y in zip(data.unlabelled_x, data.unlabelled_y.tolist(), strict=True):
        assert planes[(x * 255).round().byte().numpy().tobytes()] == y


def test_cifar100_without_its_files_says_where_to_get_them(home):
    with pytest.raises(DataError, match=r"missing: train, test; get it from http"):
        load(Cifar100())


def test_svhn_joins_both_parts_and_calls_ten_a_zero(home):
    write_svhn(home("svhn"))

    data = load(Svhn(**SETTINGS | {"n_train": 380}))

    assert data.unlabelled_x.shape == (380, 3, 32, 32)
    assert set(data.unlabelled_y.tolist()) == set(range(10))


def write_svhn(folder):
    rng = np.random.default_rng(0)
    for name, size in (("train", 300), ("extra", 100), ("test", 60)):
        pictures = rng.integers(0, 256, (32, 32, 3, size), dtype=np.uint8)
        savemat(str(folder / f"{name}_32x32.mat"), {"X": pictures, "y": (np.arange(size)[:, None] % 10 + 1).astype(np.uint8)})


def write_stl10(folder, n_unlabelled=25):
    rng = np.random.default_rng(0)
    for name, size in (("train", 230), ("test", 60), ("unlabeled", n_unlabelled)):
        rng.integers(0, 256, size * 27648, dtype=np.uint8).tofile(folder / f"{name}_X.bin")
        if name != "unlabeled":
            (np.arange(size) % 10 + 1).astype(np.uint8).tofile(folder / f"{name}_y.bin")
    return np.fromfile(folder / "unlabeled_X.bin", dtype=np.uint8)


def test_a_file_with_something_else_is_refused(home):
    folder = home("svhn")
    write_svhn(folder)
    savemat(str(folder / "test_32x32.mat"), {"other": np.zeros(3)})

    with pytest.raises(DataError, match=r"test_32x32.mat is not a file of SVHN's cropped digits"):
        load(Svhn(**SETTINGS))


def test_another_digest_than_the_suite_asks_for_is_refused(home):
    folder = home("svhn")
    write_svhn(folder)
    names = ("extra_32x32.mat", "test_32x32.mat", "train_32x32.mat")
    found = hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()

    with pytest.raises(DataError, match=rf"have the digest {found}, the suite asks for abc"):
        load(Svhn(**SETTINGS, digest="abc"))
    assert len(load(Svhn(**SETTINGS, digest=found)).test) == 30


def test_stl10_has_unlabelled_pictures_of_which_nobody_knows_the_class(home):
    published = write_stl10(home("stl10"))

    data = load(Stl10(**SETTINGS, n_unlabelled=20))

    assert data.unlabelled_x.shape == (220, 3, 96, 96)
    assert data.unlabelled_y is None
    columns = (data.unlabelled_x[200] * 255).round().byte().numpy().transpose(0, 2, 1)
    assert (columns.ravel() == published[:27648]).all()


def test_a_cut_file_is_refused(home):
    write_stl10(home("stl10"), n_unlabelled=5)

    with pytest.raises(DataError, match=r"unlabeled_X.bin holds 138,240 bytes, expected 552,960"):
        load(Stl10(**SETTINGS, n_unlabelled=20))
