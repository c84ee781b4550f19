"""The data sets of distillation: parts, scales, pairs of digits, and files that a user supplies."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness import Budget, DataError, Run
from harness.data import load
from harness.training.parts import Part
from plugins.data.images import cifar100
from plugins.data.images.digit_pairs import digit_pairs
from plugins.data.images.digits import DIGITS
from plugins.data.images.pictures import Cifar10, Cifar100, DigitPairs, Digits, FashionMnist
from plugins.tasks.distillation.datasets import features


def loaded(dataset, seed=0):
    return dataset.load(Run(seed, Budget()))


def rows_of(x):
    return {row.numpy().tobytes() for row in x}


# Digits


def test_digits_are_divided_as_asked_and_share_no_sample():
    data = loaded(Digits(n_train=50, n_valid=20, n_test=30))

    assert [len(part) for part in (data.train, data.valid, data.test)] == [50, 20, 30]
    assert data.train.x.shape[1:] == (1, 8, 8)
    assert (float(data.train.x.min()), float(data.train.x.max())) == (0, 1)
    assert not rows_of(data.train.x) & rows_of(data.test.x)


def test_a_seed_decides_the_split_and_the_record_knows_it():
    runs = [Run(seed, Budget()) for seed in (0, 0, 1)]
    first, second, other = (Digits().load(run) for run in runs)

    assert torch.equal(first.train.x, second.train.x)
    assert not torch.equal(first.train.x, other.train.x)
    assert runs[0].witnesses == runs[1].witnesses != runs[2].witnesses


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Digits(n_train=1700), r"n_train \+ n_valid \+ n_test is 2,597, there are 1,797 samples"),
        (lambda: FashionMnist(n_train=59_500), r"n_train \+ n_valid is 60,500, there are 60,000 samples"),
        (lambda: Cifar10(n_train=50_000), r"n_train \+ n_valid is 51,000, there are 50,000 samples"),
        (lambda: Cifar100(n_test=10_001), r"n_test is 10,001, there are 10,000 samples"),
    ],
)
def test_more_samples_than_there_are_cannot_be_asked_for(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Pairs


def single_pictures(n=200):
    rng = np.random.default_rng(0)
    digits = np.concatenate([np.arange(10), rng.integers(10, size=n - 10)])

    return rng.random((n, 4, 3)), digits


def test_a_pair_stands_side_by_side_and_is_labelled_by_both_digits():
    pictures, digits = single_pictures()

    pairs = digit_pairs(pictures, digits, 300, np.random.default_rng(0))

    assert pairs.x.shape == (300, 4, 6)
    for picture, label in zip(pairs.x, pairs.y, strict=True):
        left, right = (np.flatnonzero((pictures == half).all(axis=(1, 2))) for half in (picture[:, :3], picture[:, 3:]))
        assert 10 * digits[left[0]] + digits[right[0]] == label


@pytest.mark.parametrize("n", [1, 99, 100, 250, 1000])
def test_the_hundred_classes_are_equally_frequent_up_to_one(n):
    pairs = digit_pairs(*single_pictures(), n, np.random.default_rng(1))

    counts = np.bincount(pairs.y, minlength=100)

    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1


def test_pairs_come_in_random_order_and_use_many_pictures():
    pictures, digits = single_pictures()

    pairs = digit_pairs(pictures, digits, 1000, np.random.default_rng(2))
    again = digit_pairs(pictures, digits, 1000, np.random.default_rng(2))

    assert np.array_equal(pairs.x, again.x)
    assert (np.diff(pairs.y) < 0).mean() > 0.3
    assert len({half.tobytes() for half in pairs.x[:, :, :3]}) > 190


def test_a_digit_without_a_picture_is_named():
    pictures, digits = single_pictures()

    with pytest.raises(ValueError, match="no picture of the digit 7"):
        digit_pairs(pictures[digits != 7], digits[digits != 7], 100, np.random.default_rng(0))


def test_pairs_for_testing_share_no_single_picture_with_those_for_training():
    data = loaded(DigitPairs(n_train=500, n_valid=200, n_test=500))

    halves = [rows_of(part.x[..., :8]) | rows_of(part.x[..., 8:]) for part in (data.train, data.valid, data.test)]

    assert data.n_classes == 100
    assert data.train.x.shape == (500, 1, 8, 16)
    published = [picture.tobytes() for picture in load(DIGITS)["x"]]
    repeated = {picture for picture in published if published.count(picture) > 1}
    assert not repeated  # else a picture could stand in two parts
    assert len(set.union(*halves)) == sum(map(len, halves))


# Published sets


@pytest.mark.data
def test_clothes_are_grey_and_things_have_standardised_channels():
    clothes = loaded(FashionMnist(n_train=100, n_valid=20, n_test=30))
    things = loaded(Cifar10(n_train=200, n_valid=20, n_test=30))

    assert clothes.train.x.shape == (100, 1, 28, 28)
    assert 0 <= float(clothes.train.x.min()) < float(clothes.train.x.max()) <= 1
    assert things.train.x.shape == (200, 3, 32, 32)
    torch.testing.assert_close(things.train.x.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(things.train.x.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    assert float(things.test.x.mean().abs()) > 1e-4  # by the training samples' mean, not their own


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write a tiny CIFAR-100 in the publisher's form."""
    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(cifar100, "SIZES", {"train": 30, "test": 20})
    folder = tmp_path / "files" / "cifar100"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, n in cifar100.SIZES.items():
        write(folder / name, rng.integers(0, 256, (n, 3072)).astype(np.uint8), [int(label) for label in rng.integers(100, size=n)])

    return folder


def write(path, pictures, labels):
    path.write_bytes(pickle.dumps({b"data": pictures, b"fine_labels": labels, b"coarse_labels": [0] * len(labels)}, protocol=2))


def test_supplied_files_are_read_plane_by_plane(files):
    arrays = cifar100.load_cifar100(Run(0, Budget()))

    raw = pickle.loads((files / "train").read_bytes())
    assert arrays["train_x"].shape == (30, 32, 32, 3)
    np.testing.assert_array_equal(arrays["train_x"][4, 5, 6], raw[b"data"][4].reshape(3, 32, 32)[:, 5, 6])
    assert arrays["train_y"].tolist() == raw[b"fine_labels"]
    data = loaded(Cifar100(n_train=20, n_valid=10, n_test=20))
    assert (data.n_classes, data.train.x.shape) == (100, (20, 3, 32, 32))


def test_the_record_knows_which_files_were_read_and_a_suite_may_insist(files):
    run = Run(0, Budget())
    cifar100.load_cifar100(run)

    with pytest.raises(DataError, match="the suite asks for 0123"):
        cifar100.load_cifar100(Run(0, Budget()), "0123")
    before = run.witnesses["files"]
    write(files / "train", np.zeros((30, 3072), dtype=np.uint8), [0] * 30)
    other = Run(0, Budget())
    cifar100.load_cifar100(other)
    assert other.witnesses["files"] != before


def test_missing_and_damaged_files_are_named(files):
    (files / "test").write_bytes(b"not a pickle")
    with pytest.raises(DataError, match=r"cifar100/test is not a part of CIFAR-100"):
        cifar100.load_cifar100(Run(0, Budget()))

    write(files / "test", np.zeros((19, 3072), dtype=np.uint8), [0] * 19)
    with pytest.raises(DataError, match=r"holds \(19, 3072\) bytes"):
        cifar100.load_cifar100(Run(0, Budget()))

    (files / "test").unlink()
    with pytest.raises(DataError, match=r"missing: test; get it from https://www\.cs\.toronto"):
        loaded(replace(Cifar100(), n_train=10))


# Features


def test_features_have_the_scale_of_the_training_set_and_the_published_test_part(monkeypatch):
    rng = np.random.default_rng(0)
    published = [Part((3 + 2 * rng.normal(size=(n, 5))).astype(np.float32), np.arange(n) % 10) for n in (15_000, 5_000)]
    monkeypatch.setattr(features, "read_cifar10_features", lambda: published)

    data = loaded(features.Cifar10Features(n_train=200, n_valid=50, n_test=5_000))

    assert [len(part) for part in (data.train, data.valid, data.test)] == [200, 50, 5_000]
    assert torch.allclose(data.train.x.mean(dim=0), torch.zeros(5), atol=1e-5)
    assert torch.allclose(data.train.x.std(dim=0, correction=0), torch.ones(5), atol=1e-5)
    assert sorted(data.test.y.tolist()) == sorted(published[1].y.tolist())
    with pytest.raises(ValueError, match=r"n_train \+ n_valid is 16,000, there are 15,000 samples"):
        features.Cifar10Features(n_train=15_000)
