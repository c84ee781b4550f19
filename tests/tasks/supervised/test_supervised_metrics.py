"""The metrics of supervised training: against scikit-learn and scipy on fixed data, by hand, and where they do not apply."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import kurtosis
from sklearn.metrics import accuracy_score, log_loss

from harness import Budget, Run, TrialDiverged
from harness.specs import load_entry
from harness.training.calibration import expected_calibration_error
from harness.training.classifier import LabelledSet
from harness.training.fitting import build_network
from harness.training.image_data import ImageData
from harness.training.weight_watch import hidden_weights
from plugins.tasks import supervised
from plugins.tasks.supervised import metrics
from plugins.tasks.supervised.baselines.sgd import SGD
from plugins.tasks.supervised.protocol import Outcome, SupervisedProtocol

SPECS = list(supervised.bench_metrics())
OF_WEIGHTS = ["weight_norm_growth", "effective_step_first", "effective_step_middle", "near_zero_share", "kurtosis", "max_over_std"]


@pytest.fixture
def data():
    y = torch.from_numpy(np.random.default_rng(0).integers(4, size=100))
    part = LabelledSet(torch.zeros(100, 1), y)

    return ImageData(part, part, part, 4)


@pytest.fixture
def outcome(data):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(100, 4)) + np.eye(4)[data.test.y.numpy()]

    return Outcome(
        test_logits=logits.astype(np.float32),
        train_accuracy=np.array(0.97),
        train_loss=np.array(0.12),
        samples=np.array([100, 200, 300, 400, 500]),
        valid_accuracy=np.array([0.5, 0.85, 0.9, 0.88, 0.95]),
        weight_norms=np.array([2.0, 2.1, 2.2, 2.4, 2.6, 3.0]),
        effective_steps=np.array([0.05, 0.04, 0.03, 0.02, 0.01]),
        near_zero=np.array([0.5, 0.1, 0.06]),
        kurtosis=np.array([9.0, 3.0, 2.0]),
        max_over_std=np.array([9.0, 4.0, 3.0]),
    )


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_each_spec_leads_to_a_function_whose_figure_lies_within_its_bounds(spec, outcome, data):
    value = load_entry(spec.entry)(outcome, data)

    low, high = spec.bounds
    assert isinstance(value, float)
    assert low is None or value >= low
    assert high is None or value <= high


def test_figures_of_the_test_set_are_those_of_the_libraries(outcome, data):
    y, logits = data.test.y.numpy(), outcome.test_logits
    probabilities = softmax(logits.astype(np.float64), axis=1)

    assert metrics.accuracy(outcome, data) == accuracy_score(y, logits.argmax(axis=1))
    assert metrics.nll(outcome, data) == pytest.approx(log_loss(y, probabilities, labels=np.arange(4)))
    assert metrics.ece(outcome, data) == pytest.approx(expected_calibration_error(probabilities, y, 15))


def test_figures_of_training_are_those_that_were_noted(outcome, data):
    assert metrics.train_accuracy(outcome, data) == 0.97
    assert metrics.train_loss(outcome, data) == 0.12
    assert metrics.train_test_gap(outcome, data) == pytest.approx(0.97 - metrics.accuracy(outcome, data))
    assert metrics.weight_norm_growth(outcome, data) == pytest.approx(1.5)
    assert metrics.effective_step_first(outcome, data) == 0.05
    assert metrics.effective_step_middle(outcome, data) == 0.03


def test_samples_are_counted_to_the_first_epoch_that_reaches_the_accuracy(outcome, data):
    assert metrics.samples_to_accuracy(outcome, data) == 300
    assert metrics.samples_to_accuracy(replace(outcome, valid_accuracy=np.full(5, 0.899)), data) is None


def test_statistics_of_weights_are_means_of_all_layers_but_the_first(outcome, data):
    assert metrics.near_zero_share(outcome, data) == pytest.approx(0.08)
    assert metrics.kurtosis(outcome, data) == pytest.approx(2.5)
    assert metrics.max_over_std(outcome, data) == pytest.approx(3.5)
    assert metrics.kurtosis(replace(outcome, kurtosis=np.array([9.0])), data) == 9.0


@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_a_network_without_hidden_layers_has_no_statistics_of_them(name, outcome, data):
    none = np.array([])
    bare = replace(outcome, near_zero=none, kurtosis=none, max_over_std=none, weight_norms=np.zeros(6), effective_steps=np.zeros(5))

    assert getattr(metrics, name)(bare, data) is None


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("accuracy", "test_logits"),
        ("nll", "test_logits"),
        ("ece", "test_logits"),
        ("train_loss", "train_loss"),
        ("weight_norm_growth", "weight_norms"),
        ("effective_step_middle", "effective_steps"),
        ("kurtosis", "kurtosis"),
    ],
)
def test_figures_that_are_not_finite_are_a_trial_that_diverged(name, field, outcome, data):
    broken = replace(outcome, **{field: np.full_like(getattr(outcome, field), np.nan)})

    with pytest.raises(TrialDiverged, match="not finite"):
        getattr(metrics, name)(broken, data)


def test_what_the_protocol_notes_of_weights_are_the_figures_of_the_trained_network():
    generator = torch.Generator().manual_seed(0)
    part = LabelledSet(torch.rand(40, 1, 8, 8, generator=generator), torch.randint(3, (40,), generator=generator))
    protocol = SupervisedProtocol(model="mlp", widths=(16, 16), batch_size=20)
    run, data = Run(0, Budget(epochs=2)), ImageData(part, part, part, 3)
    start = [weight.norm() for weight in hidden_weights(build_network(protocol.view(data, ()), run))]

    outcome = protocol.confront(SGD(), data, run, ())
    trained = SGD().fit(protocol.view(data, ()), Run(0, Budget(epochs=2)))

    weights = [weight.numpy().ravel().astype(np.float64) for weight in hidden_weights(trained.network)]
    norms = [np.linalg.norm(weight) for weight in weights]
    assert metrics.weight_norm_growth(outcome, data) == pytest.approx(float(np.mean(norms) / np.mean(start)), rel=1e-5)
    assert metrics.kurtosis(outcome, data) == pytest.approx(kurtosis(weights[1], fisher=False), rel=1e-6)
    assert metrics.near_zero_share(outcome, data) == pytest.approx(float((np.abs(weights[1]) < 0.1 * weights[1].std()).mean()))
    assert metrics.max_over_std(outcome, data) == pytest.approx(float(np.abs(weights[1]).max() / weights[1].std()), rel=1e-6)
