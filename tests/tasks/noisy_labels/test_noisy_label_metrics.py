"""The metrics of noisy labels: against scikit-learn on fixed data, by hand, and where they do not apply."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from harness import TrialDiverged
from harness.specs import load_entry
from harness.training.classifier import LabelledSet
from plugins.tasks import noisy_labels
from plugins.tasks.noisy_labels import metrics
from plugins.tasks.noisy_labels.protocol import NoisyDataset, Outcome

SPECS = list(noisy_labels.bench_metrics())


def make_data(n_classes: int = 3, n: int = 200) -> NoisyDataset:
    rng = np.random.default_rng(0)
    clean = torch.from_numpy(rng.integers(n_classes, size=n))
    noisy = torch.where(torch.from_numpy(rng.random(n) < 0.3), (clean + 1) % n_classes, clean)
    x = torch.zeros(n, 1)

    return NoisyDataset(
        train=LabelledSet(x, noisy),
        train_clean_y=clean,
        valid=LabelledSet(x, noisy),
        valid_clean_y=clean,
        test=LabelledSet(x, torch.from_numpy(rng.integers(n_classes, size=n))),
        n_classes=n_classes,
        noise_rate=0.3,
    )


def make_outcome(data: NoisyDataset) -> Outcome:
    """Give two classifiers that are right more often than not, and weights that know something."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(3, len(data.test), data.n_classes)) + 1.5 * np.eye(data.n_classes)[data.test.y.numpy()]
    last, best, single = (np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)).astype(np.float32)
    clean = (data.train.y == data.train_clean_y).numpy()

    return Outcome(last, best, single, (clean + rng.normal(size=len(clean))).astype(np.float32))


@pytest.fixture
def data():
    return make_data()


@pytest.fixture
def outcome(data):
    return make_outcome(data)


def with_test(data: NoisyDataset, y: list[int]) -> NoisyDataset:
    return replace(data, test=LabelledSet(torch.zeros(len(y), 1), torch.tensor(y)))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_each_spec_leads_to_a_function_whose_figure_lies_within_its_bounds(spec):
    for n_classes in (2, 3):
        data = make_data(n_classes)

        value = load_entry(spec.entry)(make_outcome(data), data)

        low, high = spec.bounds
        if value is None:
            assert spec.name in ("f1", "f1_best")
            assert n_classes == 3
        else:
            assert type(value) is float
            assert low <= value
            assert high is None or value <= high


def test_accuracy_counts_right_answers_of_the_right_classifier(data, outcome):
    y = data.test.y.numpy()

    assert metrics.accuracy(outcome, data) == pytest.approx((outcome.last.argmax(1) == y).mean())
    assert metrics.accuracy_best(outcome, data) == pytest.approx((outcome.best.argmax(1) == y).mean())
    assert metrics.accuracy(outcome, data) != metrics.accuracy_best(outcome, data)


def test_macro_f1_is_that_of_scikit_learn(data, outcome):
    y = data.test.y.numpy()

    assert metrics.macro_f1(outcome, data) == pytest.approx(f1_score(y, outcome.last.argmax(1), average="macro"))
    assert metrics.macro_f1_best(outcome, data) == pytest.approx(f1_score(y, outcome.best.argmax(1), average="macro"))


def test_macro_f1_averages_over_the_classes_of_the_test_set_however_strange_the_predictions(data):
    data = with_test(data, [0, 0, 1, 1])
    predicted = np.eye(3, dtype=np.float32)[[0, 2, 1, 1]]

    # Class 0: precision 1, recall 1/2; class 1: both 1; class 2 is not in the test set.
    assert metrics.macro_f1(Outcome(predicted, predicted, predicted, None), data) == pytest.approx((2 / 3 + 1) / 2)


def test_f1_is_that_of_class_1_and_does_not_apply_to_three_classes(data, outcome):
    binary = make_data(n_classes=2)
    two = make_outcome(binary)
    y = binary.test.y.numpy()

    assert metrics.f1(two, binary) == pytest.approx(f1_score(y, two.last.argmax(1), pos_label=1))
    assert metrics.f1_best(two, binary) == pytest.approx(f1_score(y, two.best.argmax(1), pos_label=1))
    assert metrics.f1(outcome, data) is None
    assert metrics.f1_best(outcome, data) is None


def test_f1_of_a_classifier_that_never_says_1_is_0():
    data = with_test(make_data(n_classes=2), [0, 1, 1])
    never = np.array([[0.9, 0.1]] * 3, dtype=np.float32)

    assert metrics.f1(Outcome(never, never, never, None), data) == 0.0


def test_nll_is_the_mean_negative_logarithm_of_the_true_class(data, outcome):
    p = outcome.last[np.arange(len(data.test)), data.test.y.numpy()]

    assert metrics.nll(outcome, data) == pytest.approx(-np.log(p).mean(), rel=1e-5)


def test_nll_of_a_wrong_certainty_is_large_and_finite(data):
    data = with_test(data, [0, 0])
    certain = np.array([[0, 1, 0], [0, 1, 0]], dtype=np.float32)

    assert metrics.nll(Outcome(certain, certain, certain, None), data) == pytest.approx(-math.log(np.finfo(np.float32).eps), rel=1e-3)


def test_nll_needs_no_sample_of_every_class(data):
    data = with_test(data, [0, 0])
    sure = np.array([[0.5, 0.25, 0.25]] * 2, dtype=np.float32)

    assert metrics.nll(Outcome(sure, sure, sure, None), data) == pytest.approx(math.log(2))


def test_ece_by_hand():
    # Five bins. (0.4, 0.6]: confidences 0.55 and 0.6, one right: |1.15 - 1| = 0.15. (0.8, 1]: confidences 0.9, 0.9 and 1, all right: |2.8 - 3| = 0.2.
    probabilities = np.array([[0.55, 0.45], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [1.0, 0.0]])
    y = np.array([0, 0, 0, 1, 0])

    assert metrics.expected_calibration_error(probabilities, y, n_bins=5) == pytest.approx((0.15 + 0.2) / 5)


def test_ece_of_one_bin_is_the_distance_of_the_means(data, outcome):
    confidence, accuracy = outcome.last.max(axis=1).mean(), metrics.accuracy(outcome, data)

    assert metrics.expected_calibration_error(outcome.last, data.test.y.numpy(), n_bins=1) == pytest.approx(
        abs(confidence - accuracy), abs=1e-6
    )


@pytest.mark.parametrize(("y", "expected"), [([1, 1], 0.0), ([0, 0], 1.0)], ids=["right", "wrong"])
def test_ece_of_certainty_is_the_error_rate(data, y, expected):
    certain = np.array([[0, 1, 0], [0, 1, 0]], dtype=np.float32)

    assert metrics.ece(Outcome(certain, certain, certain, None), with_test(data, y)) == expected


def test_detection_auc_counts_pairs_and_ties(data):
    clean = torch.tensor([0, 0, 0, 0])
    data = replace(data, train=LabelledSet(torch.zeros(4, 1), torch.tensor([0, 0, 1, 2])), train_clean_y=clean)
    anything = np.full((len(data.test), 3), 1 / 3, dtype=np.float32)

    # Clean weights 0.9 and 0.5, wrong ones 0.5 and 0.7: of four pairs two are in order and one is tied.
    outcome = Outcome(anything, anything, anything, np.array([0.9, 0.5, 0.5, 0.7], dtype=np.float32))

    assert metrics.detection_auc(outcome, data) == pytest.approx(2.5 / 4)


def test_detection_auc_does_not_apply_without_weights_or_without_both_kinds_of_label(data, outcome):
    all_clean = replace(data, train=LabelledSet(data.train.x, data.train_clean_y))
    all_wrong = replace(data, train_clean_y=(data.train.y + 1) % 3)

    assert metrics.detection_auc(replace(outcome, sample_weights=None), data) is None
    assert metrics.detection_auc(outcome, all_clean) is None
    assert metrics.detection_auc(outcome, all_wrong) is None


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_what_is_not_finite_is_a_trial_that_diverged_and_no_figure(spec):
    data = make_data(n_classes=2)
    outcome = make_outcome(data)
    for array in (outcome.last, outcome.best, outcome.single, outcome.sample_weights):
        array[0] = np.nan

    with pytest.raises(TrialDiverged, match="not finite"):
        load_entry(spec.entry)(outcome, data)
