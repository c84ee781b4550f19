"""The protocol of ``rare_events``: what a method sees, what data it refuses, and that the truth cannot reach a method."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness import Budget, Run
from harness.parameters import build
from harness.registry import load_registry
from plugins.tasks.rare_events.protocol import Forecast, OrdinalSet, OrdinalTraining, RareEvents, RareEventsProtocol

METHODS = [spec for spec in load_registry().methods if spec.task == "rare_events"]


def make_data(shift: int = 0) -> RareEvents:
    """Three overlapping classes; ``shift`` moves every test label and every true probability."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    y = np.digitize(x[:, 0] + rng.logistic(size=400), [0.5, 2.5])

    return RareEvents(
        train=OrdinalSet(x[:300], y[:300]),
        test=OrdinalSet(x[300:], (y[300:] + shift) % 3),
        n_classes=3,
        columns=("height", "weight"),
        train_probability=np.linspace(0.1, 0.2, 300) + 0.1 * shift,
        test_probability=np.linspace(0.1, 0.2, 100) + 0.1 * shift,
    )


class Shares:
    """A method that remembers what it was given."""

    def fit(self, data, run):
        self.data = data
        return self

    def predict(self, x):
        return Forecast(np.full(len(x), 0.1))


@pytest.fixture
def protocol():
    return RareEventsProtocol()


def confront(protocol, method, data, seed=0):
    return protocol.confront(method, data, Run(seed, Budget()), ())


def test_a_method_sees_the_training_set_and_nothing_else(protocol):
    data, method = make_data(), Shares()

    confront(protocol, method, data)

    assert {field.name for field in dataclasses.fields(OrdinalTraining)} == {"x", "y", "n_classes", "columns"}
    np.testing.assert_array_equal(method.data.y, data.train.y)
    assert method.data.columns == ("height", "weight")


def test_what_a_method_does_to_its_data_does_not_reach_the_metrics(protocol):
    class Vandal(Shares):
        def fit(self, data, run):
            data.y[:] = 0
            return self

        def predict(self, x):
            x[:] = 0
            return Forecast(np.full(len(x), 0.1))

    data = make_data()

    confront(protocol, Vandal(), data)

    np.testing.assert_array_equal(data.train.y, make_data().train.y)
    np.testing.assert_array_equal(data.test.x, make_data().test.x)


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
def test_other_test_labels_and_true_probabilities_change_no_prediction(protocol, spec):
    outcomes = []
    for shift in (0, 1):
        torch.manual_seed(0)  # as before each trial: dropout draws from the global generator
        outcomes.append(confront(protocol, build(spec.entry, {}), make_data(shift)))

    first, second = outcomes
    np.testing.assert_array_equal(first.train, second.train)
    np.testing.assert_array_equal(first.test, second.test)


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
def test_every_method_predicts_probabilities_for_both_sets_and_sees_the_same_data(protocol, spec):
    run, reference = Run(0, Budget()), Run(0, Budget())

    outcome = protocol.confront(build(spec.entry, {}), make_data(), run, spec.privileges)
    protocol.confront(Shares(), make_data(), reference, ())

    assert (outcome.train.shape, outcome.test.shape) == ((300,), (100,))
    assert 0 <= min(outcome.train.min(), outcome.test.min()) <= max(outcome.train.max(), outcome.test.max()) <= 1
    assert run.witnesses == reference.witnesses


def test_the_last_class_is_the_rare_one():
    training = OrdinalTraining(np.zeros((4, 1)), np.array([0, 2, 1, 2]), 3, ("x",))

    np.testing.assert_array_equal(training.is_rare, [0, 1, 0, 1])


def test_tuning_validates_on_a_fifth_of_each_class_and_hides_the_test_set_and_the_truth(protocol):
    data = make_data()

    tuning = protocol.for_tuning(data)

    counts = np.bincount(data.train.y)
    assert np.abs(np.bincount(tuning.test.y) - counts / 5).max() < 1
    assert len(tuning.train.y) + len(tuning.test.y) == 300
    assert {row.tobytes() for row in tuning.test.x} <= {row.tobytes() for row in data.train.x}
    assert not {row.tobytes() for row in tuning.test.x} & {row.tobytes() for row in tuning.train.x}
    assert (tuning.train_probability, tuning.test_probability) == (None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.train.x.__setitem__((7, 1), np.nan), r"column 'weight' of the training set holds nan in row 7"),
        (lambda data: data.test.x.__setitem__((3, 0), np.inf), r"column 'height' of the test set holds inf in row 3"),
        (lambda data: data.train.y.fill(1), r"y of the training set holds the class 1 alone"),
        (lambda data: data.train.y.__setitem__(data.train.y == 2, 1), r"y of the training set holds no sample of class 2 of 3"),
        (lambda data: data.train.y.__setitem__(0, 3), r"y of the training set holds the class 3; with 3 classes they are 0 to 2"),
        (lambda data: data.test.y.__setitem__(0, -1), r"y of the test set holds the class -1; with 3 classes they are 0 to 2"),
    ],
)
def test_data_without_sense_are_refused_with_the_column_or_class(protocol, change, message):
    data = make_data()
    change(data)

    with pytest.raises(ValueError, match=message):
        confront(protocol, Shares(), data)


def test_an_empty_set_is_refused(protocol):
    data = make_data()

    with pytest.raises(ValueError, match="the test set has no samples"):
        confront(protocol, Shares(), replace(data, test=OrdinalSet(data.test.x[:0], data.test.y[:0])))


def test_columns_without_a_name_are_refused(protocol):
    with pytest.raises(ValueError, match=r"x of the training set has shape \(300, 2\), expected \(300, 1\) for 300 labels and 1 columns"):
        confront(protocol, Shares(), replace(make_data(), columns=("height",)))


@pytest.mark.parametrize(
    ("forecast", "message"),
    [
        (lambda n: Forecast(np.zeros((n, 3))), r"'rare' of the forecast has shape \(300, 3\), expected \(300,\)"),
        (lambda n: Forecast(np.zeros(n), np.zeros((n, 2))), r"'classes' of the forecast has shape \(100, 2\), expected \(100, 3\)"),
    ],
)
def test_a_forecast_of_the_wrong_shape_is_refused(protocol, forecast, message):
    class Wrong(Shares):
        def predict(self, x):
            return forecast(len(x))

    with pytest.raises(ValueError, match=message):
        confront(protocol, Wrong(), make_data())
