"""The protocol of ``noisy_labels``: what a method sees, and that the truth cannot reach it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from bundled import REGISTRY

from harness import Budget, Run
from harness.parameters import build
from harness.training.classifier import Fitted, LabelledSet
from plugins.tasks.noisy_labels.protocol import NoisyDataset, NoisyLabelsProtocol

METHODS = [spec for spec in REGISTRY.methods if spec.task == "noisy_labels"]


def make_data(shift: int = 0) -> NoisyDataset:
    """Three overlapping clouds; ``shift`` moves every label that a method must not see."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 240)
    x = torch.tensor(rng.normal(truth[:, None] * np.ones(5), 0.8), dtype=torch.float32)
    noisy = np.where(rng.random(240) < 0.3, rng.integers(0, 3, 240), truth)
    hidden = torch.tensor((truth + shift) % 3)

    return NoisyDataset(
        train=LabelledSet(x[:160], torch.tensor(noisy[:160])),
        train_clean_y=hidden[:160],
        valid=LabelledSet(x[160:200], torch.tensor(noisy[160:200])),
        valid_clean_y=torch.tensor(truth[160:200]),
        test=LabelledSet(x[200:], hidden[200:]),
        n_classes=3,
        noise_rate=0.3,
    )


@pytest.fixture
def protocol():
    return NoisyLabelsProtocol(hidden=8, batch_size=16)


def test_the_view_holds_no_truth_beyond_the_privileges(protocol):
    data = make_data()

    view = protocol.view(data, ())
    privileged = protocol.view(data, ("clean_validation", "noise_rate"))

    assert (view.trusted, view.noise_rate) == (None, None)
    assert torch.equal(privileged.trusted.y, data.valid_clean_y)
    assert privileged.noise_rate == 0.3
    assert not {"test", "train_clean_y", "valid_clean_y"} & {field.name for field in dataclasses.fields(view)}


def test_what_a_method_does_to_its_view_does_not_reach_the_metrics(protocol):
    data = make_data()

    view = protocol.view(data, ("clean_validation",))
    view.train.y.zero_()
    view.valid.x.zero_()
    view.trusted.y.zero_()

    assert data.train.y.any()
    assert data.valid.x.any()
    assert data.valid_clean_y.any()


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
def test_other_clean_and_test_labels_change_no_prediction(protocol, spec):
    outcomes = []
    for shift in (0, 1):
        torch.manual_seed(0)
        run = Run(seed=0, budget=Budget(epochs=2))
        outcomes.append(protocol.confront(build(spec.entry, {}), make_data(shift), run, spec.privileges))

    np.testing.assert_array_equal(outcomes[0].last, outcomes[1].last)
    np.testing.assert_array_equal(outcomes[0].best, outcomes[1].best)


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
def test_every_method_sees_the_same_batches_and_counts_what_it_used(protocol, spec):
    run = Run(seed=0, budget=Budget(epochs=2))

    outcome = protocol.confront(build(spec.entry, {}), make_data(), run, spec.privileges)

    assert run.witnesses == reference_witnesses(protocol)
    assert run.samples_forward >= 2 * 160
    assert run.samples_backward >= 2 * 160
    np.testing.assert_allclose(outcome.last.sum(axis=1), 1, atol=1e-5)
    assert len(run.curves["valid_accuracy"]) == 2


def reference_witnesses(protocol):
    run = Run(seed=0, budget=Budget(epochs=2))
    protocol.confront(build("plugins.tasks.noisy_labels.baselines.cross_entropy:CrossEntropy", {}), make_data(), run, ())

    return run.witnesses


def test_a_classifier_of_the_wrong_shape_is_refused(protocol):
    class Wrong:
        def fit(self, data, run):
            return Fitted(last=self, best=self)

        def predict_proba(self, x):
            return torch.ones(len(x), 2)

    with pytest.raises(ValueError, match=r"shape \(40, 2\), expected \(40, 3\)"):
        protocol.confront(Wrong(), make_data(), Run(seed=0, budget=Budget(epochs=1)), ())
