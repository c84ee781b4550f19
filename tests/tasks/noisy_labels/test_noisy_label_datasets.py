"""The data sets of noisy labels: what they split, what they corrupt, and that the real ones are what they say."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from harness import Budget, Run, data
from harness.parameters import ParameterError, build, resolve
from harness.specs import load_entry
from harness.training.label_noise import corrupt
from harness.training.parts import Part
from plugins.data.text.storm_spam import SMS_SPAM, YOUTUBE_SPAM
from plugins.tasks import noisy_labels
from plugins.tasks.noisy_labels.datasets import features, images
from plugins.tasks.noisy_labels.protocol import NoisyDataset

SPECS = {spec.name: spec for spec in noisy_labels.bench_datasets()}
STORM_FILES = data.cache_home() / "files" / "storm_text"


@pytest.fixture(scope="module")
def digits_home(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def digits(digits_home, monkeypatch):
    """Give a function that loads digits into a cache of its own; scikit-learn carries them."""
    monkeypatch.setenv("BENCH_DATA_HOME", str(digits_home))

    return lambda seed=0, **parameters: load("digits", seed, **parameters)


def load(name: str, seed: int = 0, **parameters: object) -> NoisyDataset:
    return build(SPECS[name].entry, parameters).load(Run(seed, Budget()))


def split_witness(name: str, seed: int, **parameters: object) -> str:
    run = Run(seed, Budget())
    build(SPECS[name].entry, parameters).load(run)

    return run.witnesses["split"]


def fetched(name: str) -> None:
    """Fetch what a test needs; without a network, `-m "not data"` leaves these tests out."""
    data.fetch(*SPECS[name].raw)


def rows(x: torch.Tensor) -> set[bytes]:
    return {row.numpy().tobytes() for row in x}


def wrong(dataset: NoisyDataset) -> float:
    return (dataset.train.y != dataset.train_clean_y).double().mean().item()


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)
def test_each_spec_leads_to_a_class_with_valid_defaults_and_to_its_raw_data(spec):
    assert resolve(spec, {}).parameters["noise"] == "none"
    assert spec.raw[0].name in spec.name  # cifar10n is made of cifar10, say
    for source in [source for raw in spec.raw for source in raw.sources]:
        load_entry(source.reader)


# Split and noise, on digits


def test_digits_have_the_sizes_shapes_and_ranges_that_they_state(digits):
    dataset = digits()

    assert dataset.train.x.shape == (1200, 1, 8, 8)
    assert (len(dataset.valid), len(dataset.test), dataset.n_classes) == (200, 397, 10)
    assert dataset.train.x.dtype == torch.float32
    assert dataset.train.y.dtype == torch.int64
    assert (dataset.train.x.min(), dataset.train.x.max()) == (0, 1)
    assert set(dataset.test.y.tolist()) == set(range(10))


def test_the_parts_share_no_sample(digits):
    dataset = digits()
    train, valid, test = rows(dataset.train.x), rows(dataset.valid.x), rows(dataset.test.x)

    assert not train & valid
    assert not train & test
    assert not valid & test


def test_a_seed_decides_split_and_noise(digits):
    parameters = {"noise": "symmetric", "rate": 0.4}
    first, again, other = digits(1, **parameters), digits(1, **parameters), digits(2, **parameters)

    for part in ("train", "valid", "test"):
        assert torch.equal(getattr(first, part).x, getattr(again, part).x)
        assert torch.equal(getattr(first, part).y, getattr(again, part).y)
        assert not torch.equal(getattr(first, part).x, getattr(other, part).x)


def test_the_split_is_witnessed_and_depends_on_the_seed_alone(digits):
    clean, noisy, other = split_witness("digits", 1), split_witness("digits", 1, noise="pair_flip", rate=0.4), split_witness("digits", 2)

    assert clean == noisy
    assert clean != other


@pytest.mark.parametrize("noise", ["symmetric", "uniform", "pair_flip", "instance_dependent"])
def test_training_and_validation_labels_are_corrupted_and_nothing_else(digits, noise):
    clean, noisy = digits(), digits(noise=noise, rate=0.4)

    expected = 0.36 if noise == "uniform" else 0.4
    assert abs(wrong(noisy) - expected) < 3 * np.sqrt(0.4 * 0.6 / 1200) + 0.01
    assert 0.2 < (noisy.valid.y != noisy.valid_clean_y).double().mean() < 0.6
    assert noisy.noise_rate == pytest.approx(expected)
    for part in ("train", "valid", "test"):
        assert torch.equal(getattr(noisy, part).x, getattr(clean, part).x)
    assert torch.equal(noisy.train_clean_y, clean.train.y)
    assert torch.equal(noisy.valid_clean_y, clean.valid.y)
    assert torch.equal(noisy.test.y, clean.test.y)


def test_a_clean_validation_set_leaves_the_training_labels_as_they_were(digits):
    noisy, clean = (digits(noise="symmetric", rate=0.4, validation=validation) for validation in ("noisy", "clean"))

    assert torch.equal(noisy.train.y, clean.train.y)
    assert torch.equal(clean.valid.y, clean.valid_clean_y)
    assert not torch.equal(noisy.valid.y, noisy.valid_clean_y)


def test_training_and_validation_labels_have_a_stream_each(digits):
    dataset, run = digits(3, noise="symmetric", rate=0.4), Run(3, Budget())

    for clean, noisy, stream in (
        (dataset.train_clean_y, dataset.train.y, "noise"),
        (dataset.valid_clean_y, dataset.valid.y, "noise/validation"),
    ):
        assert (corrupt(clean.numpy(), "symmetric", 0.4, 10, run.rng(stream)) == noisy.numpy()).all()


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("digits", {"n_train": 1500}, r"n_train \+ n_valid \+ n_test is 2,097, there are 1,797 samples"),
        ("digits", {"rate": 0.2}, "noise 'none' has rate 0.2"),
        ("digits", {"noise": "binary", "rate": 0.2}, "needs 2 classes, there are 10"),
        ("digits", {"noise": "pair_flip", "rate": 0.5}, r"must lie in \[0, 0.5\)"),
        ("digits", {"rate": 1.0, "noise": "symmetric"}, "less than 1"),
        ("digits", {"n_test": 0}, "greater than or equal to 1"),
        ("fashion_mnist", {"n_train": 60_000}, r"n_train \+ n_valid is 61,000, there are 60,000 samples"),
        ("mnist", {"n_test": 10_001}, "n_test is 10,001, there are 10,000 samples"),
        ("wiki_topics", {"n_train": 9000}, "there are 9,033 samples"),
        ("sms_spam", {"n_train": 10}, "unknown parameter 'n_train'"),
    ],
)
def test_parameters_without_meaning_are_refused_before_anything_is_loaded(name, parameters, message):
    with pytest.raises(ParameterError, match=message):
        resolve(SPECS[name], parameters)


# The real sets


@pytest.mark.data
@pytest.mark.parametrize("name", ["fashion_mnist", "mnist"])
def test_pictures_come_from_the_canonical_sets(name):
    fetched(name)
    arrays = data.load(*SPECS[name].raw)
    dataset = load(name, noise="symmetric", rate=0.2)

    assert dataset.train.x.shape == (4000, 1, 28, 28)
    assert (len(dataset.valid), len(dataset.test), dataset.n_classes) == (1000, 2000, 10)
    assert (dataset.train.x.min(), dataset.train.x.max()) == (0, 1)
    assert abs(wrong(dataset) - 0.2) < 0.03
    assert dataset.train.x.mean().item() == pytest.approx(arrays["train_x"].mean() / 255, abs=0.01)
    canonical_test = {picture.tobytes() for picture in arrays["test_x"]}
    assert all((255 * picture).round().byte().numpy().tobytes() in canonical_test for picture in dataset.test.x)


@pytest.mark.data
def test_topics_can_be_learnt_from_the_words_of_the_training_set():
    fetched("wiki_topics")
    dataset = load("wiki_topics")
    train_x, test_x = (csr_matrix(part.x.numpy()) for part in (dataset.train, dataset.test))  # dense, the fit takes ten times as long

    classifier = LogisticRegression(C=10, max_iter=300).fit(train_x, dataset.train.y.numpy())

    assert dataset.train.x.shape == (4000, 2000)
    assert (len(dataset.valid), len(dataset.test), dataset.n_classes) == (1000, 2000, 11)
    assert classifier.score(test_x, dataset.test.y.numpy()) > 0.8


needs_storm_files = pytest.mark.skipif(
    not STORM_FILES.is_dir(), reason=f"no folder {STORM_FILES} with the split of the STORM paper (sms_train.tsv, youtube_train.tsv ...)"
)


@needs_storm_files
@pytest.mark.data
@pytest.mark.parametrize(
    ("raw", "sizes", "n_features", "sums"),
    [
        # Sums over the paper's own features, column j weighted by j / n_features. The SMS training set has none: in 4 of its 4,502 texts the paper's
        # features count the word "ham" otherwise than the paper's files have it.
        (YOUTUBE_SPAM, (1586, 120, 250), 3916, (2703.9111, 180.3614, 403.5826)),
        (SMS_SPAM, (4502, 500, 500), 7694, (None, 874.9835, 865.9206)),
    ],
    ids=["youtube", "sms"],
)
def test_spam_has_the_split_and_the_features_of_the_paper(raw, sizes, n_features, sums):
    dataset = load(raw.name)

    parts = (dataset.train, dataset.valid, dataset.test)
    assert tuple(len(part) for part in parts) == sizes
    assert all(part.x.shape[1] == n_features for part in parts)
    for part, expected in zip(parts, sums, strict=True):
        if expected is not None:
            column_weights = torch.arange(1, n_features + 1).double() / n_features
            assert (part.x.double() @ column_weights).sum().item() == pytest.approx(expected, abs=1e-3)


@needs_storm_files
@pytest.mark.data
@pytest.mark.parametrize("name", ["sms_spam", "youtube_spam"])
def test_the_split_of_the_paper_is_the_same_for_each_seed_and_its_validation_set_is_clean(name):
    first, second = (load(name, seed, noise="binary", rate=0.4) for seed in (0, 1))

    assert split_witness(name, 0) == split_witness(name, 1)
    assert torch.equal(first.train.x, second.train.x)
    assert not torch.equal(first.train.y, second.train.y)
    assert torch.equal(first.valid.y, first.valid_clean_y)
    assert abs(wrong(first) - 0.4) < 0.05


@needs_storm_files
@pytest.mark.data
@pytest.mark.parametrize(("raw", "stem"), [(SMS_SPAM, "sms"), (YOUTUBE_SPAM, "youtube")], ids=["sms", "youtube"])
def test_the_archive_of_the_papers_code_gives_the_same_content(raw, stem, tmp_path):
    folder = tmp_path / "storm-commit" / "data" / stem
    folder.mkdir(parents=True)
    for part in ("train", "valid", "test"):
        shutil.copy(STORM_FILES / f"{stem}_{part}.tsv", folder / f"{part}.tsv")

    arrays = load_entry(raw.sources[1].reader)(tmp_path)

    assert data.content_hash(arrays) == raw.content


@needs_storm_files
@pytest.mark.data
def test_fewer_features_are_the_most_frequent_terms_of_the_training_set():
    assert load("youtube_spam", n_features=100).test.x.shape == (250, 100)


def test_sarcasm_refuses_more_headlines_than_there_are():
    with pytest.raises(ParameterError, match=r"n_train \+ n_valid \+ n_test is 30,000, there are 28,614 samples"):
        resolve(SPECS["sarcasm"], {"n_train": 27_000})


def test_sarcasm_admits_noise_of_two_classes_alone():
    assert resolve(SPECS["sarcasm"], {"noise": "binary", "rate": 0.3}).parameters["n_features"] == 2000


@pytest.mark.data
def test_sarcasm_can_be_learnt_from_the_words_of_the_training_set():
    fetched("sarcasm")
    clean, noisy = (load("sarcasm", **given) for given in ({}, {"noise": "binary", "rate": 0.3}))
    train_x, test_x = (csr_matrix(part.x.numpy()) for part in (clean.train, clean.test))

    classifier = LogisticRegression().fit(train_x, clean.train.y.numpy())

    assert clean.train.x.shape == (4000, 2000)
    assert (len(clean.valid), len(clean.test), clean.n_classes) == (1000, 2000, 2)
    assert classifier.score(test_x, clean.test.y.numpy()) > 0.72
    assert abs((noisy.train.y != noisy.train_clean_y).double().mean().item() - 0.3) < 0.03
    assert (noisy.test.y == clean.test.y).all()


# Features


@pytest.fixture
def human_labels(monkeypatch):
    """Stand in for features and for human labels, where a sample's features name its position; one label in four of ``aggre`` is wrong."""
    rng = np.random.default_rng(0)
    published = [Part(np.stack([np.arange(n), np.zeros(n)], axis=1).astype(np.float16), rng.integers(0, 10, n)) for n in (400, 100)]
    clean = np.concatenate([published[0].y, rng.integers(0, 10, 100)])
    human = {name: (clean + (np.arange(500) % 4 == 0)) % 10 for name in images.HUMAN_LABELS.values()} | {"clean_label": clean}
    monkeypatch.setattr(features, "read_cifar10_features", lambda: published)
    monkeypatch.setattr(images, "load", lambda raw: human)


@pytest.mark.usefixtures("human_labels")
def test_features_are_standardised_by_the_training_set_and_keep_the_labels_of_their_pictures():
    given = load("cifar10n_features", n_train=300, n_valid=100, n_test=50, labels="given")
    people = load("cifar10n_features", n_train=300, n_valid=100, n_test=50, labels="aggre")

    torch.testing.assert_close(given.train.x.mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)
    assert given.train.x[:, 0].std(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert (given.train.x[:, 1] == 0).all()
    assert torch.equal(given.train.x, people.train.x)
    assert torch.equal(given.train.y, given.train_clean_y)
    is_wrong = people.train.y != people.train_clean_y
    position = (given.train.x[:, 0] - given.train.x[is_wrong, 0].min()) / given.train.x[:, 0].sort().values.diff().min()
    assert torch.equal(position.round() % 4 == 0, is_wrong)
    assert is_wrong.float().mean().item() == pytest.approx(0.25, abs=0.07)
    assert people.noise_rate == pytest.approx(0.25)
