"""The data sets of supervised training: parts, wrong labels, and folders of pictures that a user supplies."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image

from harness import Budget, DataError, Run
from harness.parameters import ParameterError, resolve
from plugins.tasks import supervised
from plugins.tasks.supervised.baselines.sgd import SGD
from plugins.tasks.supervised.datasets.folder import ImageFolder, read_picture
from plugins.tasks.supervised.datasets.pictures import Cifar10, Cifar100, Digits, FashionMnist, Mnist
from plugins.tasks.supervised.protocol import SupervisedProtocol

SPECS = {spec.name: spec for spec in supervised.bench_datasets()}


def loaded(dataset, seed=0):
    run = Run(seed, Budget())

    return dataset.load(run), run


# Pictures


def test_digits_are_divided_and_scaled():
    data, _ = loaded(Digits(n_train=50, n_valid=20, n_test=30))

    assert [len(part) for part in (data.train, data.valid, data.test)] == [50, 20, 30]
    assert data.train.x.shape[1:] == (1, 8, 8)
    assert (float(data.train.x.min()), float(data.train.x.max())) == (0, 1)


def test_wrong_labels_are_as_many_as_asked_for_in_training_and_validation_and_none_in_testing():
    clean, noisy = (loaded(Digits(n_train=800, n_valid=400, n_test=500, label_noise=rate))[0] for rate in (0.0, 0.3))

    for part, expected in (("train", 0.3), ("valid", 0.3), ("test", 0.0)):
        before, after = getattr(clean, part), getattr(noisy, part)
        assert torch.equal(before.x, after.x)
        assert float((before.y != after.y).double().mean()) == pytest.approx(expected, abs=0.06 if expected else 0)


def test_the_wrong_labels_are_the_seeds_and_stand_in_the_record():
    runs = [loaded(Digits(label_noise=0.3), seed)[1] for seed in (0, 0, 1)]

    assert runs[0].witnesses == runs[1].witnesses
    assert runs[0].witnesses["noise"] != runs[2].witnesses["noise"]
    assert runs[0].witnesses["noise"] != loaded(Digits(), 0)[1].witnesses["noise"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Digits(n_train=1700), r"n_train \+ n_valid \+ n_test is 2,897, there are 1,797 samples"),
        (lambda: FashionMnist(n_train=59_500), r"n_train \+ n_valid is 60,500, there are 60,000 samples"),
        (lambda: Mnist(n_test=10_001), r"n_test is 10,001, there are 10,000 samples"),
        (lambda: Cifar10(n_train=50_000), r"n_train \+ n_valid is 51,000, there are 50,000 samples"),
        (lambda: Cifar100(n_train=50_000), r"n_train \+ n_valid is 51,000, there are 50,000 samples"),
    ],
)
def test_more_samples_than_there_are_cannot_be_asked_for(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_outside_of_its_range_is_refused_before_anything_runs(name, rate):
    with pytest.raises(ParameterError, match="label_noise"):
        resolve(SPECS[name], {"label_noise": rate})


def test_cifar100_says_where_its_files_are_to_be_had(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path))

    with pytest.raises(DataError, match=r"cifar-100-python\.tar\.gz"):
        loaded(Cifar100())


# Folders


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give a folder of three classes of 12 and 6 oblong pictures, each class of a colour of its own."""
    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path))
    root = tmp_path / "files" / "imagenet"
    rng = np.random.default_rng(0)
    for part, n in (("train", 12), ("val", 6)):
        for number, name in enumerate(("ant", "bee", "cat")):
            (root / part / name).mkdir(parents=True)
            for i in range(n):
                pixels = rng.integers(60, size=(10, 16, 3), dtype=np.uint8)
                pixels[..., number] += 150
                Image.fromarray(pixels).save(root / part / name / f"{i}.{'png' if i % 2 else 'JPEG'}")

    return root


SMALL = {"size": 8, "n_train": 24, "n_valid": 12, "n_test": 18}


def test_a_folder_is_read_divided_and_standardised(folder):
    data, _ = loaded(ImageFolder(**SMALL))

    assert [len(part) for part in (data.train, data.valid, data.test)] == [24, 12, 18]
    assert data.train.x.shape[1:] == (3, 8, 8)
    assert data.n_classes == 3
    pixels = data.train.x[torch.arange(24)]
    torch.testing.assert_close(pixels.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(pixels.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)
    assert torch.equal(torch.cat(list(torch.split(data.train.x, 10))), pixels)
    assert torch.equal(data.train.x[torch.tensor([5, 3])], pixels[[5, 3]])
    for part in (data.train, data.valid, data.test):
        assert torch.equal(part.x[torch.arange(len(part))].mean(dim=(2, 3)).argmax(dim=1), part.y)


def test_pictures_are_decoded_once_and_a_changed_folder_anew(folder, monkeypatch):
    read = []
    monkeypatch.setattr(
        "plugins.tasks.supervised.datasets.folder.read_picture", lambda path, size: read.append(path) or read_picture(path, size)
    )

    first, again = (loaded(ImageFolder(**{**SMALL, "n_train": 10}))[0] for _ in range(2))
    n_first = len(read)
    loaded(ImageFolder(**SMALL))
    n_more = len(read)
    os.utime(folder / "val" / "ant" / "0.JPEG", (1, 1))
    loaded(ImageFolder(**SMALL))

    assert torch.equal(first.train.x[torch.arange(10)], again.train.x[torch.arange(10)])
    assert n_first == 10 + 12 + 18
    assert n_more == 24 + 12 + 18
    assert len(read) == n_more + 18  # those of 'val' alone


def test_a_method_trains_on_pictures_that_stay_on_the_disk(folder):
    recipe = SupervisedProtocol(batch_size=8, model="cnn", widths=(4,), augmentation="flip_crop")
    data, _ = loaded(ImageFolder(**SMALL))

    outcome = recipe.confront(SGD(learning_rate=0.05), data, Run(0, Budget(epochs=8)), ())

    assert outcome.test_logits.shape == (18, 3)
    assert (outcome.test_logits.argmax(axis=1) == data.test.y.numpy()).mean() > 0.6


def test_the_middle_of_a_picture_is_taken_and_its_shorter_side_scaled(tmp_path):
    pixels = np.zeros((4, 12, 3), dtype=np.uint8)
    pixels[:, 4:8] = 200
    Image.fromarray(pixels).save(tmp_path / "x.png")

    assert (read_picture(tmp_path / "x.png", 8) == 200).all()


def test_a_seed_decides_the_pictures_and_the_record_knows_them(folder):
    runs = [loaded(ImageFolder(**SMALL), seed)[1] for seed in (0, 0, 1)]
    (folder / "val" / "ant" / "0.JPEG").rename(folder / "val" / "ant" / "9.JPEG")
    renamed = loaded(ImageFolder(**SMALL), 0)[1]

    assert runs[0].witnesses == runs[1].witnesses
    assert runs[0].witnesses["split"] != runs[2].witnesses["split"]
    assert runs[0].witnesses["files"] != renamed.witnesses["files"]


def test_a_folder_that_is_missing_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path))

    with pytest.raises(DataError, match=r"imagenet/train is missing: put one folder a class there.*image-net\.org"):
        loaded(ImageFolder())


def test_parts_of_other_classes_files_that_are_no_pictures_and_too_few_of_them_are_refused(folder):
    with pytest.raises(DataError, match=r"n_test of .*val is 19, there are 18 pictures"):
        loaded(ImageFolder(**{**SMALL, "n_test": 19}))
    (folder / "val" / "ant" / "0.JPEG").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0\.JPEG is no picture"):
        loaded(ImageFolder(**SMALL))
    (folder / "val" / "cow").mkdir()
    with pytest.raises(DataError, match="other classes"):
        loaded(ImageFolder(**SMALL))


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_folder_lies_below_the_files_of_the_cache(name):
    with pytest.raises(ValueError, match="one folder below 'files'"):
        ImageFolder(folder=name)
