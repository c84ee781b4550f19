"""The metrics of ``semi_supervised``, on outcomes whose figures can be counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from semi_supervised_samples import blobs
from sklearn.metrics import log_loss

from harness import TrialDiverged
from harness.training.classifier import LabelledSet
from plugins.tasks.semi_supervised import metrics
from plugins.tasks.semi_supervised.protocol import Outcome


@pytest.fixture
def data():
    return replace(blobs(), test=LabelledSet(torch.zeros(4, 2), torch.tensor([0, 1, 2, 3])), unlabelled_y=torch.tensor([0, 1, 2, 3, 0]))


@pytest.fixture
def outcome():
    kept = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0]], dtype=bool)

    return Outcome(
        average=np.array([[3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0], [3, 0, 0, 0]], dtype=np.float32),
        last=np.array([[3, 0, 0, 0], [3, 0, 0, 0], [3, 0, 0, 0], [3, 0, 0, 0]], dtype=np.float32),
        guess_index=np.array([0, 2, 3, 1, 4]),
        guess_label=np.array([0, 2, 0, 2, 1]),
        guess_certain=np.array([True, False, False, False, False]),
        guess_reduced=np.array([False, True, True, True, False]),
        guess_kept=np.packbits(kept, axis=1),
    )


def test_both_networks_are_judged(outcome, data):
    assert metrics.accuracy(outcome, data) == 0.75
    assert metrics.accuracy_raw(outcome, data) == 0.25


def test_macro_f1_is_the_mean_over_the_classes(outcome, data):
    assert metrics.macro_f1(outcome, data) == pytest.approx((2 / 3 + 1 + 1 + 0) / 4)


def test_nll_is_that_of_scikit_learn(outcome, data):
    p = np.exp(outcome.average) / np.exp(outcome.average).sum(axis=1, keepdims=True)

    assert metrics.nll(outcome, data) == pytest.approx(log_loss(data.test.y.numpy(), p, labels=range(4)), rel=1e-5)


def test_what_is_used_and_how_often_it_is_right(outcome, data):
    assert metrics.mask_ratio(outcome, data) == 0.2
    assert metrics.utilisation(outcome, data) == 0.8
    assert metrics.guess_accuracy(outcome, data) == 0.4
    assert metrics.pseudo_label_precision(outcome, data) == 1.0


def test_in_the_shrunk_space_only_samples_count_whose_true_class_is_kept(outcome, data):
    """Of the three samples 2, 3 and 1 all keep their true class, and one is guessed rightly."""
    assert metrics.shrunk_coverage(outcome, data) == 1.0
    assert metrics.shrunk_accuracy(outcome, data) == pytest.approx(1 / 3)

    lost = replace(outcome, guess_kept=np.packbits(np.eye(4, dtype=bool)[[0, 2, 0, 1, 0]], axis=1))

    assert metrics.shrunk_coverage(lost, data) == pytest.approx(2 / 3)
    assert metrics.shrunk_accuracy(lost, data) == 0.5


GUESSED = ["mask_ratio", "utilisation", "guess_accuracy", "pseudo_label_precision", "shrunk_coverage", "shrunk_accuracy"]


@pytest.mark.parametrize("name", GUESSED)
def test_a_method_without_guesses_has_no_such_figure(outcome, data, name):
    silent = replace(outcome, **dict.fromkeys(("guess_index", "guess_label", "guess_certain", "guess_reduced", "guess_kept")))

    assert getattr(metrics, name)(silent, data) is None


@pytest.mark.parametrize("name", GUESSED[2:])
def test_where_nobody_knows_the_truth_guesses_are_not_judged(outcome, data, name):
    assert getattr(metrics, name)(outcome, replace(data, unlabelled_y=None)) is None


def test_no_certain_guess_has_no_precision(outcome, data):
    assert metrics.pseudo_label_precision(replace(outcome, guess_certain=np.zeros(5, dtype=bool)), data) is None


def test_logits_that_are_not_finite_are_a_trial_that_diverged(outcome, data):
    broken = replace(outcome, average=outcome.average * np.float32("nan"))

    with pytest.raises(TrialDiverged, match="logits are not finite"):
        metrics.accuracy(broken, data)
