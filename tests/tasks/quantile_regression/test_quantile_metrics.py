"""The metrics of quantile regression, held to the references, to scikit-learn and to closed forms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from harness import TrialDiverged
from harness.specs import load_entry
from plugins.tasks import quantile_regression
from plugins.tasks.quantile_regression import metrics
from plugins.tasks.quantile_regression.base_models import Rows
from plugins.tasks.quantile_regression.protocol import Outcome, QuantileData

VECTORS = json.loads(
    (Path(__file__).parents[2] / "papers" / "quantile_aggregation" / "quantile_aggregation.json").read_text(encoding="utf-8")
)
CASES = {case["name"]: case for case in VECTORS["cases"]}
SPECS = list(quantile_regression.bench_metrics())
NINE = np.arange(1, 10) / 10


def data_of(y, levels, known=None):
    part = Rows(np.zeros((len(y), 1)), np.asarray(y, dtype=float))

    return QuantileData(part, part, part, np.asarray(levels), ("x",), known)


def outcome_of(quantiles, raw=None):
    quantiles = np.asarray(quantiles, dtype=float)

    return Outcome(quantiles, quantiles if raw is None else np.asarray(raw, dtype=float))


def case(name):
    given = CASES[name]["inputs"]

    return outcome_of(given["pred"]), data_of(given["y"], given["taus"]), CASES[name]["outputs"]


def drawn(n=200, seed=0):
    rng = np.random.default_rng(seed)

    return np.sort(rng.normal(size=(n, 9)), axis=1), rng.normal(size=n)


# The references


def test_the_interval_scores_and_the_sum_form_equal_the_references():
    outcome, data, expected = case("interval_scores")

    np.testing.assert_allclose(metrics.interval_scores(outcome.quantiles, data.test.y, data.levels), expected["scores"], rtol=1e-9)
    assert metrics.wis_sum(outcome, data) == pytest.approx(expected["wis_sum_form"], rel=1e-9)
    assert metrics.interval_score(outcome, data) == pytest.approx(np.mean(expected["scores"]), rel=1e-9)


def test_coverage_and_calibration_error_equal_the_references():
    outcome, data, expected = case("coverage_calibration")

    np.testing.assert_allclose(metrics.coverages(outcome.quantiles, data.test.y, data.levels), expected["picp"], rtol=1e-9)
    assert metrics.calibration_error(outcome, data) == pytest.approx(expected["mean_abs_calibration_error"], rel=1e-9)


def test_the_mean_loss_at_each_level_equals_the_references():
    outcome, data, expected = case("pinball_mean")

    losses = metrics.pinball_losses(outcome.quantiles, data.test.y, data.levels)

    np.testing.assert_allclose(losses, expected["per_level"], rtol=1e-9)
    assert metrics.wis(outcome, data) == pytest.approx(2 * expected["loss"], rel=1e-9)


# Closed forms


def test_the_sum_form_is_the_score_a_level_times_the_levels():
    quantiles, y = drawn()

    assert metrics.wis_sum(outcome_of(quantiles), data_of(y, NINE)) == pytest.approx(
        9 * metrics.wis(outcome_of(quantiles), data_of(y, NINE))
    )


def test_the_sum_form_is_the_weighted_sum_of_interval_scores_and_the_error_of_the_median():
    quantiles, y = drawn()
    scores = metrics.interval_scores(quantiles, y, NINE)

    weighted = sum(2 * NINE[i] * score for i, score in enumerate(scores)) + np.abs(y - quantiles[:, 4]).mean()

    assert metrics.wis_sum(outcome_of(quantiles), data_of(y, NINE)) == pytest.approx(weighted)


@pytest.mark.parametrize("level", [10, 20, 30, 40, 50, 60, 70, 80, 90])
def test_the_loss_of_a_level_is_that_of_scikit_learn(level):
    quantiles, y = drawn()

    value = getattr(metrics, f"pinball_{level}")(outcome_of(quantiles), data_of(y, NINE))

    assert value == pytest.approx(mean_pinball_loss(y, quantiles[:, level // 10 - 1], alpha=level / 100))


def test_coverage_and_width_are_those_of_the_interval_between_the_levels():
    quantiles = np.tile(NINE, (4, 1))
    data = data_of([0.1, 0.5, 0.95, 0.3], NINE)

    assert metrics.coverage_80(outcome_of(quantiles), data) == 0.75
    assert metrics.width_80(outcome_of(quantiles), data) == pytest.approx(0.8)
    assert metrics.coverage_40(outcome_of(quantiles), data) == 0.5
    assert metrics.width_20(outcome_of(quantiles), data) == pytest.approx(0.2)


def test_the_coverage_error_is_the_mean_distance_from_nominal():
    y = np.arange(1, 101) / 100 - 0.005
    quantiles = np.tile(NINE, (100, 1))

    assert metrics.coverage_error(outcome_of(quantiles), data_of(y, NINE)) == pytest.approx(0, abs=1e-9)
    assert metrics.coverage_error(outcome_of(0 * quantiles + 5), data_of(y, NINE)) == pytest.approx(np.mean([0.8, 0.6, 0.4, 0.2]))


def test_the_crossing_rate_counts_adjacent_pairs_before_repair():
    raw = [[1, 2, 3], [3, 2, 1], [1, 3, 2], [1, 1, 1]]

    assert metrics.crossing_rate(outcome_of(np.sort(raw, axis=1), raw), data_of(np.zeros(4), [0.1, 0.5, 0.9])) == pytest.approx(3 / 8)


def test_the_excess_of_the_true_quantiles_is_0_and_that_of_others_is_their_regret():
    quantiles, y = drawn()
    data = data_of(y, NINE, quantiles)

    assert metrics.excess_wis(outcome_of(quantiles), data) == 0
    assert metrics.excess_wis(outcome_of(quantiles + 1), data) == pytest.approx(
        metrics.wis(outcome_of(quantiles + 1), data) - metrics.wis(outcome_of(quantiles), data)
    )


def test_figures_that_the_levels_do_not_allow_are_missing():
    outcome, data = outcome_of(np.zeros((3, 2))), data_of(np.zeros(3), [0.25, 0.5])
    single = outcome_of(np.zeros((3, 1)))

    for name in ("pinball_10", "coverage_80", "width_80", "interval_score", "coverage_error", "excess_wis"):
        assert getattr(metrics, name)(outcome, data) is None, name
    assert metrics.crossing_rate(single, data_of(np.zeros(3), [0.5])) is None


def test_a_pair_needs_both_of_its_levels():
    assert metrics.central_pairs(np.array([0.05, 0.1, 0.5, 0.6, 0.9])) == [(1, 4)]


@pytest.mark.parametrize("spec", SPECS, ids=[spec.name for spec in SPECS])
def test_quantiles_that_are_not_finite_are_a_trial_that_diverged(spec):
    quantiles = np.full((5, 99), np.nan)
    y, levels = np.zeros(5), np.arange(1, 100) / 100

    with pytest.raises(TrialDiverged):
        load_entry(spec.entry)(outcome_of(quantiles), data_of(y, levels, np.zeros((5, 99))))
