"""The metrics of rare events: against scikit-learn on fixed data, by hand, and where they do not apply."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from harness import TrialDiverged
from harness.specs import load_entry
from plugins.tasks import rare_events
from plugins.tasks.rare_events import metrics
from plugins.tasks.rare_events.protocol import OrdinalSet, Outcome, RareEvents

SPECS = list(rare_events.bench_metrics())


def make_data(y=None, n=300):
    rng = np.random.default_rng(0)
    y = rng.choice(3, n, p=[0.6, 0.3, 0.1]) if y is None else np.array(y)
    x = np.zeros((len(y), 1))

    return RareEvents(OrdinalSet(x, y), OrdinalSet(x, y), 3, ("x",), np.full(len(y), 0.1), np.full(len(y), 0.2))


def make_outcome(data, p=None):
    rng = np.random.default_rng(1)
    p = rng.random(len(data.test.y)) if p is None else np.array(p)

    return Outcome(p, p, None)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_each_spec_leads_to_a_function_whose_figure_lies_within_its_bounds(spec):
    data = make_data()
    outcome = replace(make_outcome(data), test_classes=np.full((300, 3), 1 / 3))

    value = load_entry(spec.entry)(outcome, data)

    low, high = spec.bounds
    assert type(value) is float
    assert low <= value
    assert high is None or value <= high


def test_log_loss_is_that_of_the_rare_class_and_a_failed_certainty_costs_the_floor():
    data = make_data([0, 1, 2])

    assert metrics.log_loss(make_outcome(data, [0.1, 0.2, 0.7]), data) == pytest.approx(-np.log([0.9, 0.8, 0.7]).mean())
    assert metrics.log_loss(make_outcome(data, [0.0, 0.0, 0.0]), data) == pytest.approx((-np.log(1e-6) - 2 * np.log(1 - 1e-6)) / 3)


def test_brier_is_the_mean_squared_error_of_the_rare_class():
    data = make_data([0, 1, 2])

    assert metrics.brier(make_outcome(data, [0.1, 0.2, 0.7]), data) == pytest.approx((0.01 + 0.04 + 0.09) / 3)


def test_a_test_set_without_a_rare_sample_has_log_loss_and_brier_and_no_ranking():
    data = make_data([0, 1, 0])
    outcome = make_outcome(data, [0.1, 0.2, 0.3])

    assert metrics.brier(outcome, data) == pytest.approx((0.01 + 0.04 + 0.09) / 3)
    assert metrics.log_loss(outcome, data) == pytest.approx(-np.log([0.9, 0.8, 0.7]).mean())
    assert metrics.auc(outcome, data) is None
    assert metrics.average_precision(outcome, data) is None


def test_mse_is_taken_at_the_training_points_and_mse_test_at_fresh_ones():
    data = make_data([0, 1, 2])
    outcome = Outcome(np.array([0.1, 0.1, 0.4]), np.array([0.2, 0.5, 0.2]), None)

    assert metrics.mse(outcome, data) == pytest.approx(0.09 / 3)
    assert metrics.log10_mse(outcome, data) == pytest.approx(np.log10(0.03))
    assert metrics.mse_test(outcome, data) == pytest.approx(0.09 / 3)


@pytest.mark.parametrize("metric", [metrics.mse, metrics.log10_mse, metrics.mse_test])
def test_without_a_known_truth_there_is_no_error_against_it(metric):
    data = replace(make_data(), train_probability=None, test_probability=None)

    assert metric(make_outcome(data), data) is None


def test_the_logarithm_of_a_perfect_forecast_is_finite():
    data = make_data([0, 1, 2])

    assert metrics.log10_mse(make_outcome(data, [0.1] * 3), data) == -300


def test_ranking_is_that_of_scikit_learn():
    data = make_data()
    outcome = make_outcome(data)
    came = data.test.y == 2

    assert metrics.auc(outcome, data) == pytest.approx(roc_auc_score(came, outcome.test))
    assert metrics.average_precision(outcome, data) == pytest.approx(average_precision_score(came, outcome.test))


def test_calibration_errors_of_two_to_a_bin_are_as_by_hand():
    # Ten bins of two; in the first five one of the two came, in the others none.
    p = np.sort(np.concatenate((np.linspace(0.10, 0.19, 10), np.linspace(0.5, 0.59, 10))))
    came = np.array([0, 1] * 5 + [0, 0] * 5)
    data = make_data(np.where(came == 1, 2, 0))
    frequency = np.repeat([0.5, 0.0], 10)

    assert metrics.oce(make_outcome(data, p), data) == pytest.approx(((p - frequency) ** 2).mean())
    assert metrics.ece(make_outcome(data, p), data) == pytest.approx(np.abs((p - frequency).reshape(10, 2).sum(axis=1)).sum() / 20)


def test_the_released_calibration_error_depends_on_the_order_of_the_samples_and_the_sound_one_does_not():
    data = make_data()
    outcome = make_outcome(data)
    order = np.random.default_rng(2).permutation(300)
    shuffled_data, shuffled = make_data(data.test.y[order]), make_outcome(data, outcome.test[order])

    assert metrics.oce(shuffled, shuffled_data) == pytest.approx(metrics.oce(outcome, data))
    assert metrics.oce_as_released(shuffled, shuffled_data) != pytest.approx(metrics.oce_as_released(outcome, data), rel=1e-3)


def test_on_sorted_samples_both_calibration_errors_agree():
    data = make_data()
    outcome = make_outcome(data, np.sort(make_outcome(data).test))

    assert metrics.oce_as_released(outcome, data) == metrics.oce(outcome, data)


@pytest.mark.parametrize(("n", "bins"), [(47, 10), (1049, 10), (1051, 11), (10_000, 100)])
def test_there_is_a_bin_for_a_hundred_samples_and_ten_at_least(n, bins):
    assert metrics.number_of_bins(n) == bins


def test_crossings_are_counted_by_points_and_only_where_all_classes_are_modelled():
    data = make_data([0, 1, 2, 0])
    classes = np.array([[0.5, 0.3, 0.2], [0.9, -0.1, 0.2], [0.2, 0.3, 0.5], [0.6, 0.2, 0.2]])
    outcome = make_outcome(data, classes[:, 2])

    assert metrics.crossing_rate(replace(outcome, test_classes=classes), data) == 0.25
    assert metrics.crossing_rate(outcome, data) is None


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_what_is_not_finite_is_a_trial_that_diverged_and_no_figure(spec):
    data = make_data([0, 1, 2])

    with pytest.raises(TrialDiverged, match="not finite"):
        load_entry(spec.entry)(make_outcome(data, [0.1, np.nan, 0.2]), data)


def test_a_forecast_that_is_no_probability_is_an_error():
    data = make_data([0, 1, 2])

    with pytest.raises(ValueError, match=r"lies in \[0.1, 1.2\]"):
        metrics.brier(make_outcome(data, [0.1, 1.2, 0.2]), data)
